/** What nodes tell each other about rooms over the bus: that what was known about these is out of date. */
import { decodeMessage, encodeMessage } from './wire-codec.ts';
import { list, shape, text } from './wire-shape.ts';

export const roomNoticeTopic = 'rooms';

type RoomNotice = { rooms: string[] };

const isNotice = shape<RoomNotice>({ rooms: list(text) });

export function encodeRoomNotice(rooms: string[]): Uint8Array {
  return encodeMessage({ rooms } satisfies RoomNotice);
}

/** @returns no rooms for what cannot be read: a newer node may say more on this topic. */
export function decodeRoomNotice(message: Uint8Array): string[] {
  try {
    const notice = decodeMessage(message);
    return isNotice(notice) ? (notice as RoomNotice).rooms : [];
  } catch {
    return [];
  }
}
