/** How large what is stored may be. Redis carries small things only; one large value holds up everybody else. */
import type { RoomParts } from './store.ts';
import { storeTooLarge } from './store-errors.ts';

/** A published `Room`, with its metadata. */
export const maxRoomBytes = 1024 * 1024;
/** One saved piece: one participant's metadata and attributes, say. */
const maxPartBytes = 1024 * 1024;

export function checkSize(what: string, value: Uint8Array, maxBytes: number): void {
  if (value.byteLength > maxBytes) {
    throw storeTooLarge(what, value.byteLength, maxBytes);
  }
}

export function checkParts(parts: RoomParts): void {
  for (const [name, value] of parts) {
    if (value !== undefined) {
      checkSize(`the saved part ${name}`, value, maxPartBytes);
    }
  }
}
