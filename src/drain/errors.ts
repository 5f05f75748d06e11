import { PlenumError } from '../lib/errors.ts';
import type { Refusal } from '../placement/node-lifecycle.ts';

export function unknownNode(nodeId: string): PlenumError {
  return new PlenumError({
    code: 'not_found',
    reason: 'unknown-node',
    message: `there is no node ${nodeId} in this cluster`,
  });
}

export function masterHoldsNoCall(nodeId: string): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'not-a-media-node',
    message: `${nodeId} is a master and holds no call: stop it, and its clients come back through the others`,
  });
}

/** Its process has been told to stop: taking that back is not ours. */
export function nodeIsEnding(nodeId: string): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'node-is-ending',
    message: `${nodeId} drains because its process was told to stop: start it again when it has ended`,
  });
}

export function stepRefused(refusal: Refusal, message: string): PlenumError {
  const code = refusal === 'unknown-node' ? 'not_found' : refusal === 'stale-epoch' ? 'aborted' : 'failed_precondition';
  return new PlenumError({ code, reason: refusal, message });
}

export function changedTooOften(nodeId: string): PlenumError {
  return new PlenumError({
    code: 'aborted',
    reason: 'node-changes',
    message: `the record of ${nodeId} was changed by others again and again: try once more`,
    logLevel: 'warn',
  });
}
