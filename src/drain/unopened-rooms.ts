/**
 * Rooms that a draining node owns in the store and does not host: their first client went away before it got there, or
 * somebody died in between. Nothing runs in them, but whoever came next would be sent to that node.
 */
import type { ClusterStore } from '../cluster/store.ts';
import { encodeRoomNotice, roomNoticeTopic } from '../cluster/room-notices.ts';
import type { Logger } from '../observe/log.ts';
import type { StatedRoom } from '../placement/drain-view.ts';
import { selectHostNode, type HostRequest } from '../placement/select-node.ts';
import type { NodeId } from '../protocol/ids.ts';

export type UnopenedRoomsOptions = {
  store: ClusterStore;
  placement: () => Omit<HostRequest, 'key'>;
  /** A room with a past was given to this node, which does not know yet. */
  moved: (roomName: string, nodeId: NodeId) => void;
  log: Logger;
};

export class UnopenedRooms {
  readonly #options: UnopenedRoomsOptions;

  constructor(options: UnopenedRoomsOptions) {
    this.#options = options;
  }

  /** Those whose lease lives are about to be opened. Epochs protect whoever is quicker. */
  async settle(nodeId: NodeId, rooms: readonly StatedRoom[]): Promise<void> {
    const settled: string[] = [];
    for (const room of rooms) {
      if (!room.isLive && (await this.#settle(nodeId, room))) {
        settled.push(room.roomName);
      }
    }
    if (settled.length > 0) {
      await this.#options.store.bus.publish(roomNoticeTopic, encodeRoomNotice(settled)).catch(() => undefined);
    }
  }

  async #settle(nodeId: NodeId, { roomName, epoch }: StatedRoom): Promise<boolean> {
    const { store, placement, moved, log } = this.#options;
    const saved = await store.rooms.load(roomName);
    if (saved === undefined || saved.parts.size === 0) {
      return store.rooms.release(roomName, epoch);
    }
    const request = placement();
    const exclude = new Set([...(request.exclude ?? []), nodeId]);
    const selection = selectHostNode({ ...request, exclude, key: roomName });
    if (selection.kind === 'none') {
      return false;
    }
    const taken = await store.rooms.takeOver(roomName, epoch, selection.nodeId);
    if (taken.kind === 'taken') {
      log.info({ room: roomName, from: nodeId, to: selection.nodeId, epoch: taken.epoch }, 'room moves');
      moved(roomName, selection.nodeId);
    }
    return taken.kind === 'taken';
  }
}
