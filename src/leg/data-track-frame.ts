/**
 * Header of a packet on `_data_track`: version and flags, a reserved byte, handle, sequence, frame number, timestamp; all
 * of them big-endian, 12 bytes in all. What follows is the publisher's.
 */
import type { WantedDataTrack } from '../protocol/leg-messages.ts';

const headerBytes = 12;
const handleAt = 2;

export type DataRoute = { handle: number; receivers: number };

/** Handles of the tracks that a participant receives. */
export function handlesIn(tracks: readonly WantedDataTrack[]): Set<number> {
  return new Set(tracks.flatMap((track) => (track.direction === 'in' ? [track.handle] : [])));
}

/** Where its own go, by its own handles. */
export function routesOut(tracks: readonly WantedDataTrack[]): Map<number, DataRoute> {
  return new Map(
    tracks.flatMap((track) => (track.direction === 'out' ? [[track.publisherHandle, track] as const] : [])),
  );
}

/** @returns undefined when the bytes are no such packet */
export function frameHandle(packet: Uint8Array): number | undefined {
  return packet.byteLength < headerBytes ? undefined : viewOf(packet).getUint16(handleAt);
}

/** A copy, because the original may be a part of memory that is written to again. */
export function withHandle(packet: Uint8Array, handle: number): Uint8Array {
  const copy = Uint8Array.from(packet);
  viewOf(copy).setUint16(handleAt, handle);
  return copy;
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
