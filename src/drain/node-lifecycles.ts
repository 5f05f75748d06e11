/** Applies lifecycle events to the durable records of nodes: of several who decide at once, each sees the others' result. */
import type { NodeStates } from '../cluster/store.ts';
import type { NodeStateRecord } from '../cluster/store-records.ts';
import { nextLifecycle, type NodeEvent } from '../placement/node-lifecycle.ts';
import type { NodeId } from '../protocol/ids.ts';
import { changedTooOften, stepRefused } from './errors.ts';

export type LifecycleOutcome = { kind: 'changed' | 'unchanged'; record: NodeStateRecord };

const attempts = 8;

export class NodeLifecycles {
  readonly #states: NodeStates;

  constructor(states: NodeStates) {
    this.#states = states;
  }

  get(nodeId: NodeId): Promise<NodeStateRecord | undefined> {
    return this.#states.get(nodeId);
  }

  list(): Promise<NodeStateRecord[]> {
    return this.#states.list();
  }

  /**
   * Rejects with a refusal of `NodeEvent` as the reason, with `node-changes`, or as the store does; a change that the
   * store did not confirm may have been made.
   * @param about written with the change
   */
  async apply(nodeId: NodeId, event: NodeEvent, about: { seat?: string } = {}): Promise<LifecycleOutcome> {
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const current = await this.#states.get(nodeId);
      const transition = nextLifecycle(current, event);
      switch (transition.kind) {
        case 'refused':
          throw stepRefused(transition.refusal, transition.message);
        case 'unchanged':
          if (current === undefined) throw stepRefused('unknown-node', `there is no record of ${nodeId}`);
          return { kind: 'unchanged', record: current };
        case 'changed': {
          const change = { ...transition.change, ...about };
          const outcome = await this.#states.change(nodeId, transition.expectedEpoch, change);
          if (outcome.kind === 'changed') {
            return outcome;
          }
        }
      }
    }
    throw changedTooOften(nodeId);
  }

  /** States a record as it was known, where the store has lost it. @returns false when there is one (again) */
  async restate(known: NodeStateRecord): Promise<boolean> {
    const { nodeId, state, owner, reason, policy, remainingMs, deadlineIsHard, stateBefore, seat } = known;
    const outcome = await this.#states.change(nodeId, 0, {
      state,
      owner,
      reason,
      policy,
      remainingMs,
      ...(deadlineIsHard === undefined ? {} : { deadlineIsHard }),
      ...(stateBefore === undefined ? {} : { stateBefore }),
      ...(seat === undefined ? {} : { seat }),
    });
    return outcome.kind === 'changed';
  }

  forget(record: NodeStateRecord): Promise<boolean> {
    return this.#states.remove(record.nodeId, record.epoch);
  }
}
