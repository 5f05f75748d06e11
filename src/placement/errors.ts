import { PlenumError } from '../lib/errors.ts';
import type { Rejection } from './select-node.ts';

/** Clients get 503 with this text and try again; operators read in it what to change. */
export function noNodeFits(what: 'room' | 'participant', rejections: readonly Rejection[]): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'no-capacity',
    message: `no media node can take another ${what}: ${describeRejections(rejections)}`,
    logLevel: 'warn',
    details: Object.fromEntries(rejections.map(({ nodeId, reason, detail }) => [nodeId, `${reason}: ${detail}`])),
  });
}

/** `2 of 3 nodes are not serving, 1 is at its limit (cpu 0.91 of 0.85)`; one example per reason keeps it short. */
export function describeRejections(rejections: readonly Rejection[]): string {
  if (rejections.length === 0) {
    return 'there is no media node';
  }
  const groups = Map.groupBy(rejections, (rejection) => rejection.reason);
  return [...groups]
    .map(([reason, of]) => `${of.length} of ${rejections.length} ${reason} (${of[0]?.nodeId} ${of[0]?.detail})`)
    .join(', ');
}
