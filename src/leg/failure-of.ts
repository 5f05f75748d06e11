import { PlenumError } from '../lib/errors.ts';
import type { LegFailure } from '../protocol/leg-messages.ts';

export type ExplainedFailure = { failure: LegFailure; detail: string; logLevel: 'info' | 'warn' | 'error' };

/** What the host is told when the work on a connection threw. */
export function failureOf(error: unknown): ExplainedFailure {
  const detail = error instanceof Error ? error.message : String(error);
  const reason = error instanceof PlenumError ? error.reason : '';
  if (reason === 'media-closed' || reason === 'no-media-worker') {
    return { failure: 'worker-died', detail, logLevel: 'warn' };
  }
  // The engine refuses only what came out of the client's description.
  if (reason.startsWith('sdp-') || reason === 'media-engine-refused') {
    return { failure: 'bad-description', detail, logLevel: 'info' };
  }
  return { failure: 'internal', detail, logLevel: 'error' };
}
