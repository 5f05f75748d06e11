/**
 * Finds hosts for the rooms of dead nodes also when none of their clients comes back: a room must end, and tell so, where
 * somebody hosts it. Every master does this; the store lets one of them succeed for each room.
 */
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import type { ClusterDirectory } from './cluster-directory.ts';
import type { RoomRecords } from './store.ts';

export type RoomRecoveryOptions = {
  nodes: ClusterNodes;
  rooms: RoomRecords;
  directory: ClusterDirectory;
  intervalMs: number;
  log: Logger;
};

/** Rooms that are looked at together: a node that dies with thousands must not hold up the joins of others. */
const batch = 16;

export class RoomRecovery {
  readonly #options: RoomRecoveryOptions;
  /** Dead nodes without rooms. */
  readonly #settled = new Set<NodeId>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(options: RoomRecoveryOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), this.#options.intervalMs);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  /** Never rejects; what cannot be done now is tried again. */
  look(): Promise<void> {
    this.#running ??= this.#look().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #look(): Promise<void> {
    this.#options.directory.forgetGoneNodes();
    const dead = this.#options.nodes.mediaNodes().filter((node) => !node.isLive);
    for (const { nodeId } of dead) {
      if (!this.#settled.has(nodeId)) {
        await this.#recover(nodeId);
      }
    }
    for (const nodeId of this.#settled) {
      if (!dead.some((node) => node.nodeId === nodeId)) {
        this.#settled.delete(nodeId);
      }
    }
  }

  async #recover(nodeId: NodeId): Promise<void> {
    const { rooms, directory, log } = this.#options;
    try {
      const orphans = await rooms.ofNode(nodeId);
      if (orphans.length === 0) {
        this.#settled.add(nodeId);
      }
      for (let index = 0; index < orphans.length; index += batch) {
        const names = orphans.slice(index, index + batch).map(({ roomName }) => roomName);
        await Promise.all(names.map((roomName) => directory.recover(roomName)));
      }
    } catch (error) {
      log.debug({ err: error, nodeId }, 'the rooms of a dead node could not be recovered yet');
    }
  }
}
