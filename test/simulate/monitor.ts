/** Watches a run from outside and notes every broken promise. */
import type { NodeId } from '../../src/protocol/ids.ts';

export type BrokenPromise =
  | 'two-hosts-at-one-epoch'
  | 'old-host-speaks'
  | 'room-without-host'
  | 'room-lost'
  | 'drain-does-not-end'
  | 'drained-with-work'
  | 'work-on-draining-node'
  | 'left-over';

export type Violation = { promise: BrokenPromise; atMs: number; detail: string };

export type Counters = {
  acts: number;
  takeovers: number;
  handovers: number;
  legsMoved: number;
  reconnects: number;
  drains: number;
  undrains: number;
  longestHostlessMs: number;
  longestDrainMs: number;
  longestOverlapMs: number;
};

type RoomWatch = {
  /** By epoch, who spoke, when first, and when first although there was a higher epoch. */
  speakers: Map<number, { nodeId: NodeId; firstMs: number; firstLateMs: number | undefined }>;
  highestEpoch: number;
  /** Milliseconds without an accepted word of a host, as far as they count. */
  hostlessMs: number;
};

/** A host may be followed by another for so long. */
const overlapBoundMs = 1_000;
/** Expired lease, opinions, election, renewal, attachment, each with lost messages. */
const hostlessBoundMs = 8_000;
const drainBoundMs = 40_000;
/** A node learns that it drains with its next beat; one that hears nothing stops admitting after a lease period. */
const admissionSlackMs = 2_500;

export class Monitor {
  readonly violations: Violation[] = [];
  readonly counters: Counters = {
    acts: 0,
    takeovers: 0,
    handovers: 0,
    legsMoved: 0,
    reconnects: 0,
    drains: 0,
    undrains: 0,
    longestHostlessMs: 0,
    longestDrainMs: 0,
    longestOverlapMs: 0,
  };
  readonly #now: () => number;
  readonly #rooms = new Map<string, RoomWatch>();
  readonly #draining = new Map<NodeId, number>();
  /** While masters and nodes are on an island with some of the others, two hosts cannot know of each other. */
  isSplit = false;
  #healedAtMs = 0;
  /** Redis has lost what it had acknowledged: an old host may be given its room back until the new one states it again. */
  hasRedisForgotten = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  violated(promise: BrokenPromise, detail: string): void {
    if (this.violations.length < 20) {
      this.violations.push({ promise, atMs: Math.round(this.#now()), detail });
    }
  }

  healed(): void {
    this.isSplit = false;
    this.#healedAtMs = this.#now();
  }

  acted(roomName: string, epoch: number, nodeId: NodeId): void {
    this.counters.acts += 1;
    const room = this.#room(roomName);
    const speaker = room.speakers.get(epoch);
    if (speaker === undefined) {
      room.speakers.set(epoch, { nodeId, firstMs: this.#now(), firstLateMs: undefined });
      room.highestEpoch = Math.max(room.highestEpoch, epoch);
    } else if (speaker.nodeId !== nodeId) {
      this.violated('two-hosts-at-one-epoch', `${roomName} at ${epoch}: ${speaker.nodeId} and ${nodeId}`);
    }
    if (epoch < room.highestEpoch && !this.isSplit) {
      this.#spokeLate(roomName, room, { epoch, nodeId });
    }
  }

  #spokeLate(roomName: string, room: RoomWatch, old: { epoch: number; nodeId: NodeId }): void {
    const speaker = room.speakers.get(old.epoch);
    if (speaker === undefined) {
      return;
    }
    speaker.firstLateMs ??= this.#now();
    const above = [...room.speakers].filter(([epoch]) => epoch > old.epoch).map(([, { firstMs }]) => firstMs);
    const sinceMs = this.hasRedisForgotten ? speaker.firstLateMs : Math.min(...above);
    const overlapMs = this.#now() - Math.max(sinceMs, this.#healedAtMs);
    this.counters.longestOverlapMs = Math.max(this.counters.longestOverlapMs, overlapMs);
    if (overlapMs > overlapBoundMs) {
      this.violated(
        'old-host-speaks',
        `${roomName}: ${old.nodeId} at ${old.epoch}, superseded ${Math.round(overlapMs)} ms ago`,
      );
    }
  }

  heard(roomName: string): void {
    const room = this.#room(roomName);
    this.counters.longestHostlessMs = Math.max(this.counters.longestHostlessMs, room.hostlessMs);
    room.hostlessMs = 0;
  }

  /** Lets time count for rooms with members, unless masters or Redis are being hurt. */
  elapsed(roomName: string, ms: number, counts: boolean): void {
    const room = this.#room(roomName);
    const before = room.hostlessMs;
    room.hostlessMs = counts ? before + ms : 0;
    if (before <= hostlessBoundMs && room.hostlessMs > hostlessBoundMs) {
      this.violated('room-without-host', `${roomName} for ${hostlessBoundMs} ms`);
    }
  }

  drainElapsed(nodeId: NodeId, ms: number): void {
    const before = this.#draining.get(nodeId) ?? 0;
    const after = before + ms;
    this.#draining.set(nodeId, after);
    this.counters.longestDrainMs = Math.max(this.counters.longestDrainMs, after);
    if (before <= drainBoundMs && after > drainBoundMs) {
      this.violated('drain-does-not-end', `${nodeId} after ${drainBoundMs} ms`);
    }
  }

  drainEnded(nodeId: NodeId): void {
    this.#draining.delete(nodeId);
  }

  /** @param outForMs how long the node has not been serving, by its record */
  admitted(nodeId: NodeId, what: string, outForMs: number): void {
    if (outForMs > admissionSlackMs) {
      this.violated('work-on-draining-node', `${what} on ${nodeId}, out of service for ${Math.round(outForMs)} ms`);
    }
  }

  #room(roomName: string): RoomWatch {
    let room = this.#rooms.get(roomName);
    if (room === undefined) {
      room = { speakers: new Map(), highestEpoch: 0, hostlessMs: 0 };
      this.#rooms.set(roomName, room);
    }
    return room;
  }
}
