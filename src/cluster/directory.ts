/** Which node hosts which room, and what is known about rooms without asking their hosts. */
import type { NodeId } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';
import type { Link } from './link.ts';

export type RoomLocation = { roomName: string; nodeId: NodeId };

export interface RoomDirectory {
  /** The room's host, or undefined when the room does not exist. */
  locate(roomName: string): Promise<RoomLocation | undefined>;
  /** The room's host; a node is chosen when the room has none. Rejects with reason `no-capacity` when none may take it. */
  place(roomName: string): Promise<RoomLocation>;
  /** Protobuf `Room` messages as the hosts last stated them (at most 5 s old), filtered by name unless `names` is empty. */
  list(names: string[]): Promise<Uint8Array[]>;
}

/** The host's side of the directory. */
export interface RoomRegistrar {
  /** States a room's protobuf `Room`; called when it is created and when its counters or metadata changed. */
  publish(roomName: string, room: Uint8Array): void;
  /** The room is finished; its name is free. */
  release(roomName: string): void;
}

/** Opens links from a gateway (or the API) to a node's room host. */
export interface HostConnector {
  connect(nodeId: NodeId): Link<GatewayToHost, HostToGateway>;
}
