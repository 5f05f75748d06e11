/** Which node hosts which room, and what is known about rooms without asking their hosts. */
import type { NodeId } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';
import type { RoomPart } from '../room/events.ts';
import type { Link } from './link.ts';

export type RoomLocation = { roomName: string; nodeId: NodeId };

export interface RoomDirectory {
  /** The room's host, or undefined when the room does not exist. */
  locate(roomName: string): Promise<RoomLocation | undefined>;
  /** The room's host; a node is chosen when the room has none. Rejects with reason `no-capacity` when none may take it. */
  place(roomName: string): Promise<RoomLocation>;
  /** Protobuf `Room` messages as the hosts last stated them (at most 5 s old), filtered by name unless `names` is empty. */
  list(names: string[]): Promise<Uint8Array[]>;
  /** What was told about this room turned out to be wrong: ask anew next time. */
  forget(roomName: string): void;
}

/** The host's side of the directory. */
export interface RoomRegistrar {
  /** States a room's protobuf `Room`; called when it is created and when its counters or metadata changed. */
  publish(roomName: string, room: Uint8Array): void;
  /** The room is finished; its name is free. */
  release(roomName: string): void;
}

export type RoomGrant =
  /** This node hosts the room. `parts`: what an earlier host left of it; undefined for a new room. */
  | { kind: 'owned'; epoch: number; parts: ReadonlyMap<string, Uint8Array> | undefined }
  /** Another node does, or the room is between two hosts. */
  | { kind: 'elsewhere' }
  /** There is no such room. */
  | { kind: 'missing' };

/** The host's side of the directory in a cluster: what it hosts is only its own as long as the store says so. */
export interface RoomOwnership extends RoomRegistrar {
  /** A room that was placed here. Rejects with code `unavailable` when the store does not answer. */
  acquire(roomName: string): Promise<RoomGrant>;
  /** The epoch under which this node hosts the room. */
  epochOf(roomName: string): number | undefined;
  /** Whether this node may do or say anything for the room now: to be asked before every act. */
  mayAct(roomName: string): boolean;
  /** Called when rooms that were silent may act again. */
  onVoice(listener: () => void): void;
  save(roomName: string, parts: readonly RoomPart[]): void;
  /** Resolves when the store has what was stated of the room so far, or will not take it soon. Never rejects. */
  stated(roomName: string): Promise<void>;
  /** Resolves when what was saved is in the store, and after a second at the latest. */
  saved(roomName: string): Promise<void>;
  /**
   * Gives the room to another node, with all that was saved; the room is silent from now on.
   *
   * @param successor chosen here when it is not stated
   * @returns who has it; undefined when it stays, which a lost answer may turn out to be wrong about: `onLost` tells then
   */
  handOver(roomName: string, successor?: NodeId): Promise<NodeId | undefined>;
  /** Somebody knows of a later host of the room. */
  superseded(roomName: string, epoch: number): void;
  /** Called with rooms that other nodes host now, or that were ended: this node has no say in them any more. */
  onLost(lost: (roomName: string) => void): void;
}

/** Opens links from a gateway (or the API) to a node's room host. */
export interface HostConnector {
  connect(nodeId: NodeId): Link<GatewayToHost, HostToGateway>;
}
