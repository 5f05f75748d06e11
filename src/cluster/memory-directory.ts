/** The room directory of a node that is alone: places, states and host links in one process. */
import type { NodeId } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';
import type { HostConnector, RoomDirectory, RoomLocation, RoomRegistrar } from './directory.ts';
import type { Link } from './link.ts';
import { memoryLink, type MemoryLinkOptions } from './memory-link.ts';
import { PlenumError } from '../lib/errors.ts';

export type MemoryDirectoryOptions = {
  nodeId: NodeId;
  /** Monotonic milliseconds. */
  now: () => number;
  link?: MemoryLinkOptions;
};

type Entry = { placedAtMs: number; room: Uint8Array | undefined };

/** A placed room that no host has stated by then is forgotten: its first join never arrived. */
const placeLifeMs = 15_000;

export class MemoryDirectory implements RoomDirectory, RoomRegistrar, HostConnector {
  readonly #options: MemoryDirectoryOptions;
  readonly #rooms = new Map<string, Entry>();
  #accept: ((link: Link<HostToGateway, GatewayToHost>) => void) | undefined;
  #isAdmitting = true;

  constructor(options: MemoryDirectoryOptions) {
    this.#options = options;
  }

  /** Tells where links of gateways end. */
  attachHost(accept: (link: Link<HostToGateway, GatewayToHost>) => void): void {
    this.#accept = accept;
  }

  /** Whether new rooms are placed from now on; those that exist stay. */
  admit(isAdmitting: boolean): void {
    this.#isAdmitting = isAdmitting;
  }

  get size(): number {
    return this.#rooms.size;
  }

  locate(roomName: string): Promise<RoomLocation | undefined> {
    this.#forgetUnused();
    return Promise.resolve(this.#rooms.has(roomName) ? this.#location(roomName) : undefined);
  }

  place(roomName: string): Promise<RoomLocation> {
    this.#forgetUnused();
    if (!this.#rooms.has(roomName)) {
      if (!this.#isAdmitting) {
        return Promise.reject(noCapacity());
      }
      this.#rooms.set(roomName, { placedAtMs: this.#options.now(), room: undefined });
    }
    return Promise.resolve(this.#location(roomName));
  }

  list(names: string[]): Promise<Uint8Array[]> {
    const wanted = names.length === 0 ? [...this.#rooms.keys()] : [...new Set(names)];
    return Promise.resolve(wanted.flatMap((name) => this.#rooms.get(name)?.room ?? []));
  }

  /** Here nothing is remembered that could be wrong. */
  forget(): void {}

  publish(roomName: string, room: Uint8Array): void {
    this.#rooms.set(roomName, { placedAtMs: this.#options.now(), room });
  }

  release(roomName: string): void {
    this.#rooms.delete(roomName);
  }

  connect(nodeId: NodeId): Link<GatewayToHost, HostToGateway> {
    const [gatewayEnd, hostEnd] = memoryLink<GatewayToHost, HostToGateway>(this.#options.link);
    if (nodeId === this.#options.nodeId && this.#accept !== undefined) {
      this.#accept(hostEnd);
    } else {
      hostEnd.close();
    }
    return gatewayEnd;
  }

  #location(roomName: string): RoomLocation {
    return { roomName, nodeId: this.#options.nodeId };
  }

  #forgetUnused(): void {
    const oldestMs = this.#options.now() - placeLifeMs;
    for (const [name, entry] of this.#rooms) {
      if (entry.room === undefined && entry.placedAtMs < oldestMs) {
        this.#rooms.delete(name);
      }
    }
  }
}

function noCapacity(): PlenumError {
  return new PlenumError({ code: 'unavailable', reason: 'no-capacity', message: 'no node can take another room' });
}
