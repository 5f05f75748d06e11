/** On which nodes a room has legs, as it is saved for the room's next host and for who chooses that one. */
import type { NodeId } from '../protocol/ids.ts';
import type { RoomPart } from '../room/events.ts';

const nodesPart = 'nodes';

export function encodeRoomNodes(nodes: ReadonlyMap<NodeId, number>): RoomPart {
  return { name: nodesPart, bytes: new TextEncoder().encode(JSON.stringify(Object.fromEntries(nodes))) };
}

/** Legs by node; none when nothing readable was saved. */
export function decodeRoomNodes(parts: ReadonlyMap<string, Uint8Array> | undefined): NodeId[] {
  return [...countRoomNodes(parts).keys()];
}

export function countRoomNodes(parts: ReadonlyMap<string, Uint8Array> | undefined): Map<NodeId, number> {
  try {
    const saved: unknown = JSON.parse(new TextDecoder().decode(parts?.get(nodesPart)));
    const entries = typeof saved === 'object' && saved !== null ? Object.entries(saved) : [];
    return new Map(
      entries.flatMap(([nodeId, legs]) => (typeof legs === 'number' ? [[nodeId as NodeId, legs] as const] : [])),
    );
  } catch {
    return new Map();
  }
}
