/** Load goes up and down again: the set of media nodes grows, and shrinks without anybody losing a call. */
import { setTimeout as delay } from 'node:timers/promises';
import { LightEndpoint } from '../../../test/kit/light/light-endpoint.ts';
import { Person, type CrowdOptions } from './crowd.ts';
import type { Simulation } from './simulation.ts';

export type ScaleReport = {
  nodesAtMost: number;
  nodesAtTheEnd: number;
  people: number;
  lost: string[];
  /** Of those that came back with a new join. */
  rejoinGapsMs: number[];
  /** Longest silence that somebody heard who stayed through it all. */
  longestSilenceMs: number;
  /** Machines that were taken away, in order. */
  deleted: string[];
};

export type ScaleOptions = {
  simulation: Simulation;
  say: (line: string) => void;
  /** Nodes that must be there before the load goes down. */
  until: number;
  roomsAtMost: number;
  timeoutMs: number;
};

const peoplePerRoom = 3;

export class ScaleScenario {
  readonly #options: ScaleOptions;
  readonly #people: Person[] = [];
  readonly #report: ScaleReport = {
    nodesAtMost: 0,
    nodesAtTheEnd: 0,
    people: 0,
    lost: [],
    rejoinGapsMs: [],
    longestSilenceMs: 0,
    deleted: [],
  };

  constructor(options: ScaleOptions) {
    this.#options = options;
  }

  /** Rejects, saying how far it came, when the set does not follow the load in time. */
  async run(): Promise<ScaleReport> {
    const { simulation, say, until, timeoutMs } = this.#options;
    await using endpoint = disposable(await LightEndpoint.start());
    const crowd: CrowdOptions = { url: () => simulation.url, key: simulation.keys, endpoint: endpoint.value };
    const before = simulation.media.size;
    await this.#growUntil(crowd, until);
    const grown = new Set(simulation.media.keys());
    say(`${grown.size} media nodes carry ${this.#people.length} people; all but those of two rooms leave`);
    await this.#leaveAllBut(2);
    await Promise.all(this.#people.map((person) => person.hearingGapMs()));
    await this.#wait(() => simulation.media.size <= before, 'the set has shrunk again', timeoutMs);
    this.#report.deleted = [...grown].filter((name) => !simulation.media.has(name));
    this.#report.nodesAtTheEnd = simulation.media.size;
    for (const person of this.#people) {
      this.#report.longestSilenceMs = Math.max(this.#report.longestSilenceMs, await person.hearingGapMs());
    }
    await this.#leaveAllBut(0);
    return this.#report;
  }

  async #growUntil(crowd: CrowdOptions, nodes: number): Promise<void> {
    const { simulation, roomsAtMost, timeoutMs, say } = this.#options;
    const startedMs = performance.now();
    for (let room = 1; simulation.media.size < nodes && room <= roomsAtMost; room += 1) {
      for (let seat = 1; seat <= peoplePerRoom; seat += 1) {
        this.#people.push(await Person.join(crowd, `room-${room}`, `person-${room}-${seat}`, true));
      }
      say(`${this.#people.length} people in ${room} rooms`);
      await delay(2_000);
    }
    const left = Math.max(1, timeoutMs - (performance.now() - startedMs));
    await this.#wait(() => simulation.media.size >= nodes, `there are ${nodes} media nodes`, left);
    // Work for the new node: the rooms that are there stay where they are.
    await this.#wait(() => simulation.servingMedia >= nodes, `${nodes} media nodes serve`, left);
    for (let seat = 1; seat <= peoplePerRoom - 1; seat += 1) {
      this.#people.push(await Person.join(crowd, 'room-late', `late-${seat}`, true));
    }
    this.#report.nodesAtMost = simulation.media.size;
    this.#report.people = this.#people.length;
  }

  /** The first room and the last one stay: they are on different nodes when there are two. */
  async #leaveAllBut(rooms: number): Promise<void> {
    const stays = rooms === 0 ? [] : ['room-1', 'room-late'];
    const leaving = this.#people.filter(({ room }) => !stays.includes(room));
    await Promise.all(leaving.map((person) => person.leave()));
    for (const person of leaving) {
      this.#people.splice(this.#people.indexOf(person), 1);
      this.#note(person);
    }
  }

  #note(person: Person): void {
    this.#report.rejoinGapsMs.push(...person.gapsMs);
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
