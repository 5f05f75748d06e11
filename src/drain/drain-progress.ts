/** How far drains are, told by the leader over the bus, so that every master can say it. */
import { z } from 'zod';
import type { ClusterBus, Unsubscribe } from '../cluster/store.ts';
import { decodeMessage, encodeMessage } from '../cluster/wire-codec.ts';
import type { NodeId } from '../protocol/ids.ts';

const nodeId = z.string().transform((id) => id as NodeId);
const count = z.int().min(0);

const progressSchema = z.looseObject({
  nodeId,
  /** Of the lifecycle record that is being carried out. */
  epoch: z.int(),
  /** Rooms hosted on the node. */
  rooms: count,
  /** Participants whose media is on the node. */
  participants: count,
  jobs: count,
  /** In words; at most `maxWaits` of them. */
  waitingFor: z.array(z.string()),
  /** Beyond those in `waitingFor`. */
  furtherWaits: count,
  leader: nodeId,
});

export type DrainProgress = z.infer<typeof progressSchema>;

const topic = 'drain-progress';
/** So many of them stay far below what the bus takes. */
const maxWaits = 20;
const maxWaitLength = 1_000;
/** The leader tells it every second. */
const lifeMs = 10_000;

export async function tellProgress(bus: ClusterBus, progress: DrainProgress): Promise<void> {
  const waitingFor = progress.waitingFor.slice(0, maxWaits).map((wait) => wait.slice(0, maxWaitLength));
  const furtherWaits = progress.waitingFor.length - waitingFor.length;
  await bus.publish(topic, encodeMessage({ ...progress, waitingFor, furtherWaits }));
}

/** What was heard last about each node that is being drained. */
export class DrainBoard {
  readonly #heard = new Map<NodeId, { progress: DrainProgress; atMs: number }>();
  #unsubscribe: Unsubscribe | undefined;

  async listen(bus: ClusterBus): Promise<void> {
    this.#unsubscribe = await bus.subscribe(topic, (message) => this.#receive(message));
  }

  close(): void {
    this.#unsubscribe?.();
  }

  /** Undefined when nobody has told anything lately. */
  of(id: NodeId): DrainProgress | undefined {
    return this.all().find((progress) => progress.nodeId === id);
  }

  all(): DrainProgress[] {
    const oldestMs = performance.now() - lifeMs;
    for (const [id, { atMs }] of this.#heard) {
      if (atMs < oldestMs) {
        this.#heard.delete(id);
      }
    }
    return [...this.#heard.values()].map(({ progress }) => progress);
  }

  /** What cannot be read comes from a newer leader. */
  #receive(message: Uint8Array): void {
    try {
      const progress = progressSchema.parse(decodeMessage(message));
      this.#heard.set(progress.nodeId, { progress, atMs: performance.now() });
    } catch {
      // Progress is told again in a moment.
    }
  }
}
