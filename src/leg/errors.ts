import { PlenumError } from '../lib/errors.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { PipeRefusal } from '../protocol/leg-peer-messages.ts';

/** No answer came: the node is gone, cannot be reached, or is too slow. */
export function peerUnreachable(nodeId: NodeId, why: string): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'leg-peer-unreachable',
    message: `node ${nodeId} does not answer: ${why}`,
    logLevel: 'debug',
    details: { nodeId },
  });
}

export function pipeRefused(reason: PipeRefusal, detail: string): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: `pipe-${reason}`,
    message: detail === '' ? `a pipe was refused: ${reason}` : `a pipe was refused: ${detail}`,
    logLevel: 'debug',
  });
}
