/** Load goes up and down again: the set of media nodes grows, and shrinks without anybody losing a call. */
import { setTimeout as delay } from 'node:timers/promises';
import { LightEndpoint } from '../../../test/kit/light/light-endpoint.ts';
import { Person, type CrowdOptions } from './crowd.ts';
import { CapacityWatch, type Victim } from './capacity-watch.ts';
import type { Simulation } from './simulation.ts';

export type ScaleReport = {
  nodesAtMost: number;
  nodesAtTheEnd: number;
  people: number;
  lost: string[];
  /** Of those that came back with a new join: until they were in the call, and between two voices that they heard. */
  rejoinGapsMs: number[];
  audioGapsMs: number[];
  /** Longest silence that somebody heard who stayed through it all. */
  longestSilenceMs: number;
  /** Machines that were taken away, in order. */
  deleted: string[];
  /** Nodes that were chosen to go. */
  victims: Victim[];
  /** What was decided about the number of nodes, and why. */
  timeline: string[];
  /** Milliseconds that a node that waits for its calls was watched while it had some. */
  waitedMs: number;
};

export type ScaleOptions = {
  simulation: Simulation;
  say: (line: string) => void;
  /** Nodes that must be there before the load goes down. */
  until: number;
  roomsAtMost: number;
  /** How a surplus node is emptied, as the deployment has it. */
  policy: 'migrate' | 'wait';
  timeoutMs: number;
};

const peoplePerRoom = 3;
const roomEveryMs = 2_000;
/** The one whose room stays on the first node, and the one that comes to the last node, with fewer people. */
const lateRoom = 'room-late';
const stays = ['room-1', lateRoom];
/** Several looks of the leading master. */
const watchWaitingMs = 25_000;

export class ScaleScenario {
  readonly #options: ScaleOptions;
  readonly #people: Person[] = [];
  readonly #report: ScaleReport = {
    nodesAtMost: 0,
    nodesAtTheEnd: 0,
    people: 0,
    lost: [],
    rejoinGapsMs: [],
    audioGapsMs: [],
    longestSilenceMs: 0,
    deleted: [],
    victims: [],
    timeline: [],
    waitedMs: 0,
  };

  constructor(options: ScaleOptions) {
    this.#options = options;
  }

  /** Rejects, saying how far it came, when the set does not follow the load in time. */
  async run(): Promise<ScaleReport> {
    const { simulation, say, until, policy, timeoutMs } = this.#options;
    await using endpoint = disposable(await LightEndpoint.start());
    const crowd: CrowdOptions = { url: () => simulation.url, key: simulation.keys, endpoint: endpoint.value };
    const watch = new CapacityWatch({ ask: () => simulation.capacity(), say });
    try {
      const before = simulation.media.size;
      await this.#growUntil(crowd, until);
      const grown = new Set(simulation.media.keys());
      say(`${grown.size} media nodes carry ${this.#people.length} people; all but those of two rooms leave`);
      await this.#leave(({ room }) => !stays.includes(room));
      await Promise.all(this.#people.map((person) => person.hearingGapMs()));
      if (policy === 'wait') {
        await this.#seeItWait(watch);
      }
      await this.#wait(() => simulation.media.size <= before, 'the set has shrunk again', timeoutMs);
      this.#report.deleted = [...grown].filter((name) => !simulation.media.has(name));
      this.#report.nodesAtTheEnd = simulation.media.size;
      await this.#seeWhoIsThere();
      const isTold = (): boolean => watch.timeline.some((line) => line.startsWith('delete'));
      await this.#wait(isTold, 'the deletion is told', timeoutMs);
    } finally {
      await watch.close();
    }
    await this.#leave(() => true);
    return { ...this.#report, victims: watch.victims, timeline: watch.timeline };
  }

  /** A node that waits is there, with its calls, for as long as somebody stays; then the last ones leave it. */
  async #seeItWait(watch: CapacityWatch): Promise<void> {
    const { simulation, say, timeoutMs } = this.#options;
    await this.#wait(() => watch.draining.length > 0, 'a node is to be emptied', timeoutMs);
    const there = simulation.media.size;
    const sinceMs = performance.now();
    while (performance.now() - sinceMs < watchWaitingMs) {
      if (simulation.media.size < there) {
        throw new Error('a node was deleted while it had calls');
      }
      await delay(200);
    }
    this.#report.waitedMs = Math.round(performance.now() - sinceMs);
    await this.#seeWhoIsThere();
    say(`${watch.draining.join()} waited for its calls; now they end`);
    await this.#leave(({ room }) => room === lateRoom);
  }

  async #seeWhoIsThere(): Promise<void> {
    for (const person of this.#people) {
      this.#report.longestSilenceMs = Math.max(this.#report.longestSilenceMs, await person.hearingGapMs());
      if (!(await person.hears())) {
        this.#report.lost.push(`${person.identity}: hears nobody any more`);
      }
    }
  }

  async #growUntil(crowd: CrowdOptions, nodes: number): Promise<void> {
    const { simulation, roomsAtMost, timeoutMs, say } = this.#options;
    const deadlineMs = performance.now() + timeoutMs;
    const left = (): number => Math.max(1, deadlineMs - performance.now());
    for (let room = 1; simulation.media.size < nodes && room <= roomsAtMost && left() > 1; room += 1) {
      for (let seat = 1; seat <= peoplePerRoom;) {
        // A node that has just taken somebody takes the next one when it has calmed down.
        if (await this.#join(crowd, `room-${room}`, `person-${room}-${seat}`)) {
          seat += 1;
        } else if (simulation.media.size >= nodes || left() === 1) {
          break;
        } else {
          await delay(roomEveryMs);
        }
      }
      say(`${this.#people.length} people in ${room} rooms`);
      await delay(roomEveryMs);
    }
    await this.#wait(() => simulation.media.size >= nodes, `there are ${nodes} media nodes`, left());
    await this.#wait(() => simulation.servingMedia >= nodes, `${nodes} media nodes serve`, left());
    // Work for the new node: the rooms that are there stay where they are.
    for (let seat = 1; seat <= peoplePerRoom - 1; seat += 1) {
      while (!(await this.#join(crowd, lateRoom, `late-${seat}`))) {
        if (performance.now() >= deadlineMs) {
          throw new Error('no media node takes those who come late');
        }
        await delay(roomEveryMs);
      }
    }
    this.#report.nodesAtMost = simulation.media.size;
    this.#report.people = this.#people.length;
  }

  /** @returns false when no node takes anybody more, as a client would be told */
  async #join(crowd: CrowdOptions, room: string, identity: string): Promise<boolean> {
    try {
      this.#people.push(await Person.join(crowd, room, identity, stays.includes(room) ? 'voice' : 'camera'));
      return true;
    } catch (error) {
      if ((error as { status?: unknown }).status === 503) {
        return false;
      }
      throw error;
    }
  }

  async #leave(who: (person: Person) => boolean): Promise<void> {
    const leaving = this.#people.filter(who);
    await Promise.all(leaving.map((person) => person.leave()));
    for (const person of leaving) {
      this.#people.splice(this.#people.indexOf(person), 1);
      this.#note(person);
    }
  }

  #note(person: Person): void {
    this.#report.rejoinGapsMs.push(...person.gapsMs.map(({ call }) => call));
    this.#report.audioGapsMs.push(...person.gapsMs.map(({ audio }) => audio));
    if (person.lost !== undefined) {
      this.#report.lost.push(`${person.identity}: ${person.lost}`);
    }
  }

  async #wait(condition: () => boolean, what: string, timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!condition()) {
      if (performance.now() >= deadlineMs) {
        throw new Error(`not within ${Math.round(timeoutMs / 1_000)} s: ${what}`);
      }
      await delay(200);
    }
  }
}

function disposable(value: LightEndpoint): AsyncDisposable & { value: LightEndpoint } {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}
