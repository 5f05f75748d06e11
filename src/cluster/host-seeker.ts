/**
 * How legs find the next host of their room by themselves: this node asks the store whose the room is, and tells that
 * node that it has legs of it. The new host asks for legs too, where it knows of them; who comes first does not matter.
 */
import type { HostSeeker as Seeker } from '../leg/leg-node.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import type { ChannelType, RelayLink, RelayNetwork } from './relay-network.ts';
import type { RoomRecords } from './store.ts';
import { shape, text } from './wire-shape.ts';
import { MessageTable } from './wire-table.ts';

type SeekerToHost = { kind: 'legsHere'; roomName: string };
/** The host answers by asking for the legs on a link of its own. */
type HostToSeeker = { kind: 'noAnswer' };
type NoParams = Record<string, never>;

export const seekChannel: ChannelType<NoParams, SeekerToHost, HostToSeeker> = {
  name: 'seek',
  params: shape<NoParams>({}),
  toServer: new MessageTable<SeekerToHost>({ legsHere: { roomName: text } }),
  toClient: new MessageTable<HostToSeeker>({ noAnswer: {} }),
};

export type HostSeekerOptions = {
  nodeId: NodeId;
  nodes: ClusterNodes;
  rooms: RoomRecords;
  relay: RelayNetwork;
  intervalMs: number;
  /** This node is the host itself. */
  ownRoom: (roomName: string) => void;
  log: Logger;
};

/** Rooms that are looked up together. */
const batch = 32;
/** The host of a room that is being given away is known within moments. */
const firstLookMs = 20;

export class HostSeeker implements Seeker {
  readonly #options: HostSeekerOptions;
  readonly #rooms = new Set<string>();
  readonly #links = new Map<NodeId, RelayLink<SeekerToHost, HostToSeeker>>();
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #closed = false;

  constructor(options: HostSeekerOptions) {
    this.#options = options;
  }

  seek(roomName: string): void {
    this.#rooms.add(roomName);
    this.#arm(firstLookMs);
  }

  found(roomName: string): void {
    this.#rooms.delete(roomName);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const link of this.#links.values()) {
      link.close();
    }
    this.#links.clear();
  }

  #arm(delayMs: number): void {
    if (this.#timer === undefined && !this.#isLooking && !this.#closed && this.#rooms.size > 0) {
      this.#timer = setTimeout(() => void this.#look(), delayMs);
    }
  }

  async #look(): Promise<void> {
    this.#timer = undefined;
    this.#isLooking = true;
    const rooms = [...this.#rooms];
    for (let index = 0; index < rooms.length && !this.#closed; index += batch) {
      await Promise.all(rooms.slice(index, index + batch).map((roomName) => this.#lookFor(roomName)));
    }
    this.#isLooking = false;
    this.#arm(this.#options.intervalMs);
  }

  async #lookFor(roomName: string): Promise<void> {
    const { rooms, nodeId, ownRoom, log } = this.#options;
    try {
      const owner = await rooms.find(roomName);
      if (owner === undefined || !this.#rooms.has(roomName) || this.#closed) {
        return;
      }
      if (owner.nodeId === nodeId) {
        ownRoom(roomName);
      } else {
        this.#linkTo(owner.nodeId)?.send({ kind: 'legsHere', roomName });
      }
    } catch (error) {
      log.debug({ err: error, room: roomName }, 'the host of a room could not be looked up');
    }
  }

  #linkTo(nodeId: NodeId): RelayLink<SeekerToHost, HostToSeeker> | undefined {
    const existing = this.#links.get(nodeId);
    const peer = this.#options.nodes.peer(nodeId);
    if (existing !== undefined || peer === undefined) {
      return existing;
    }
    const link = this.#options.relay.open(peer, seekChannel, {});
    this.#links.set(nodeId, link);
    link.onMessage(() => undefined);
    link.onClose(() => {
      if (this.#links.get(nodeId) === link) {
        this.#links.delete(nodeId);
      }
    });
    return link;
  }
}
