import type { NodeStates } from '../cluster/store.ts';
import type { NodeStateRecord } from '../cluster/store-records.ts';
import { nextLifecycle, type NodeEvent, type NodeLifecycle, type Transition } from '../placement/node-lifecycle.ts';
import type { NodeId } from '../protocol/ids.ts';
import { recordChanged } from './errors.ts';

/**
 * Takes a node one step further in its life. A node that nobody ever decided about gets its record with the step already
 * taken, in one write: half a record would stay when the writer dies.
 * @returns what stands then. @throws PlenumError `node-changed` when somebody else was faster or the step is refused
 */
export async function changeNode(
  states: NodeStates,
  nodeId: NodeId,
  event: NodeEvent,
): Promise<NodeStateRecord | undefined> {
  const current = await states.get(nodeId);
  const transition = current === undefined ? firstTransition(nodeId, event) : nextLifecycle(current, event);
  switch (transition.kind) {
    case 'unchanged':
      return current;
    case 'refused':
      throw recordChanged(nodeId, transition.message);
    case 'changed': {
      const outcome = await states.change(nodeId, transition.expectedEpoch, transition.change);
      if (outcome.kind === 'conflict') {
        throw recordChanged(nodeId, 'somebody else changed it at the same time');
      }
      return outcome.record;
    }
  }
}

function firstTransition(nodeId: NodeId, event: NodeEvent): Transition {
  const { ifEpoch = 0, ...rest } = event;
  if (ifEpoch !== 0) {
    throw recordChanged(nodeId, 'its record is gone');
  }
  const serving: NodeLifecycle = {
    epoch: 0,
    state: 'SERVING',
    owner: event.owner,
    reason: event.reason,
    policy: 'migrate',
    remainingMs: null,
  };
  return nextLifecycle(serving, rest);
}
