/**
 * Runs one room: feeds it events one after another, carries out its effects in order, and keeps the one timer it asks for.
 * A room that throws is ended without asking it anything more; no other room notices.
 */
import { participantOfLeg, type ConnectionId, type LegId } from '../protocol/ids.ts';
import type { HostToLeg } from '../protocol/leg-messages.ts';
import type { HostToGateway } from '../protocol/session-messages.ts';
import type { RoomCloseReason, RoomEffect, RoomEvent } from '../room/events.ts';
import type { MovableLeg } from '../room/moving.ts';
import type { RoomSnapshot } from '../room/room.ts';

/** What of a room the driver needs; `Room` is the one implementation in production. */
export interface DrivenRoom {
  readonly name: string;
  step(event: RoomEvent, nowMs: number): RoomEffect[];
  deadlineMs(): number | undefined;
  snapshot(): RoomSnapshot;
  movableLegs(nowMs: number): MovableLeg[];
}

export type RoomDriverOptions = {
  room: DrivenRoom;
  /** Under which this node hosts the room; undefined on a node that is alone. */
  epoch?: number | undefined;
  /** Unix milliseconds. */
  now: () => number;
  /** Whether this host may do or say anything now; while it may not, events wait. */
  mayAct?: () => boolean;
  /** It was not allowed to act: `poke` is to be called when it may be again. */
  silenced?: () => void;
  /** More waits than may: the room is to be let go of. */
  overflowed?: () => void;
  /** Carries out an effect other than `closed`. */
  perform: (effect: RoomEffect) => void;
  /** The room is over; called once. */
  closed: (reason: RoomCloseReason) => void;
  /** The room threw; called before `closed`. */
  failed: (error: unknown) => void;
};

/** What a room that failed leaves behind, to be cleaned up without it. */
export type RoomRemains = {
  /** Joins that have no answer yet. */
  waiting: ConnectionId[];
  connections: ConnectionId[];
  legs: LegId[];
  commands: number[];
};

/** For a host that may not act for some seconds. */
const maxWaitingEvents = 10_000;

/** The longest delay that Node's timers take. */
const maxDelayMs = 2 ** 31 - 1;

export class RoomDriver {
  readonly #options: RoomDriverOptions;
  readonly #waiting = new Set<ConnectionId>();
  readonly #connections = new Set<ConnectionId>();
  readonly #legs = new Set<LegId>();
  readonly #commands = new Set<number>();
  #queue: RoomEvent[] = [];
  #isRunning = false;
  #isClosed = false;
  #isAbandoned = false;
  #isHeld = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs: number | undefined;

  constructor(options: RoomDriverOptions) {
    this.#options = options;
  }

  get room(): DrivenRoom {
    return this.#options.room;
  }

  get participantCount(): number {
    // One who moves has two of them for a moment.
    return new Set([...this.#legs].map((leg) => participantOfLeg(leg))).size;
  }

  movableLegs(): MovableLeg[] {
    return this.#isClosed ? [] : this.#options.room.movableLegs(this.#options.now());
  }

  get epoch(): number | undefined {
    return this.#options.epoch;
  }

  /** Another node hosts the room: nothing more is done or said here. @returns the events that nobody dealt with */
  abandon(): RoomEvent[] {
    this.#isClosed = true;
    this.#isAbandoned = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return this.#queue.splice(0);
  }

  /** Events wait until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.poke();
  }

  /** It may be allowed to act again. */
  poke(): void {
    if (!this.#isClosed && !this.#isRunning) {
      this.#run();
    }
  }

  /** A leg that an earlier host of the room has opened. */
  adopt(leg: LegId): void {
    this.#legs.add(leg);
  }

  remains(): RoomRemains {
    return {
      waiting: [...this.#waiting],
      connections: [...this.#connections],
      legs: [...this.#legs],
      commands: [...this.#commands],
    };
  }

  /** Events that arrive while one is handled wait for their turn. */
  handle(event: RoomEvent): void {
    if (this.#isClosed) {
      return;
    }
    if (this.#queue.length >= maxWaitingEvents && !this.#isRunning) {
      this.#options.overflowed?.();
      return;
    }
    this.#expect(event);
    this.#queue.push(event);
    if (!this.#isRunning) {
      this.#run();
    }
  }

  #run(): void {
    this.#isRunning = true;
    try {
      // What waits when the room closes is still answered, by the closed room.
      while (this.#queue.length > 0 && this.#mayAct()) {
        const event = this.#queue.shift();
        if (event !== undefined) this.#step(event);
      }
    } finally {
      this.#isRunning = false;
    }
    if (this.#queue.length === 0) {
      this.#armTimer();
    }
  }

  #mayAct(): boolean {
    const { mayAct = () => true, silenced } = this.#options;
    if (this.#isHeld) {
      return false;
    }
    const may = mayAct();
    if (!may) {
      // Measurements are soon out of date, and would fill the queue.
      this.#queue = this.#queue.filter((event) => !isMeasurement(event));
      silenced?.();
    }
    return may;
  }

  #step(event: RoomEvent): void {
    try {
      for (const effect of this.#options.room.step(event, this.#options.now())) {
        if (this.#isAbandoned) {
          return;
        }
        if (effect.kind === 'closed') {
          this.#close(effect.reason);
        } else {
          this.#remember(effect);
          this.#options.perform(effect);
        }
      }
    } catch (error) {
      this.#queue = [];
      this.#options.failed(error);
      this.#close('internal');
    }
  }

  #close(reason: RoomCloseReason): void {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#options.closed(reason);
  }

  #expect(event: RoomEvent): void {
    if (event.kind !== 'gateway') {
      return;
    }
    if (event.message.kind === 'join' || event.message.kind === 'attach') {
      this.#waiting.add(event.message.connectionId);
    } else if (event.message.kind === 'socketClosed') {
      this.#waiting.delete(event.message.connectionId);
      this.#connections.delete(event.message.connectionId);
    } else if (event.message.kind === 'command') {
      this.#commands.add(event.message.requestId);
    }
  }

  #remember(effect: RoomEffect): void {
    if (effect.kind === 'toGateway') {
      this.#rememberGateway(effect.message);
    } else if (effect.kind === 'toLeg') {
      this.#rememberLeg(effect.message);
    }
  }

  #rememberGateway(message: HostToGateway): void {
    if (message.kind === 'accepted' || message.kind === 'attached') {
      this.#waiting.delete(message.connectionId);
      this.#connections.add(message.connectionId);
    } else if (message.kind === 'refused' || message.kind === 'closeSocket') {
      this.#waiting.delete(message.connectionId);
      this.#connections.delete(message.connectionId);
    } else if (message.kind === 'commandResult') {
      this.#commands.delete(message.requestId);
    }
  }

  #rememberLeg(message: HostToLeg): void {
    if (message.kind === 'open') {
      this.#legs.add(message.leg);
    } else if (message.kind === 'close') {
      this.#legs.delete(message.leg);
    }
  }

  #armTimer(): void {
    if (this.#isClosed) {
      return;
    }
    const atMs = this.#options.room.deadlineMs();
    if (atMs === this.#timerAtMs && this.#timer !== undefined) {
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerAtMs = atMs;
    if (atMs === undefined) {
      return;
    }
    // One more than asked for: Node's timers may fire a little early, which would ask the room in vain.
    const delayMs = Math.min(Math.max(atMs - this.#options.now() + 1, 0), maxDelayMs);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.handle({ kind: 'deadline' });
    }, delayMs);
  }
}

function isMeasurement(event: RoomEvent): boolean {
  return event.kind === 'leg' && (event.message.kind === 'levels' || event.message.kind === 'quality');
}
