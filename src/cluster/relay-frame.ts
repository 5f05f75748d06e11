/**
 * Frames on a connection between nodes: 4 bytes length of what follows, 1 byte type, then the type's own fields.
 * Numbers are big-endian. Messages larger than a chunk travel as several data frames, so that others get in between.
 */
import type { LinkCloseReason } from './link.ts';
import { badFrame } from './relay-errors.ts';

const frameTypes = { hello: 0, goodbye: 1, ping: 2, pong: 3, open: 4, data: 5, credit: 6, close: 7 } as const;

export type Frame =
  | { type: 'hello' | 'goodbye'; body: Uint8Array }
  | { type: 'ping' | 'pong'; sequence: number }
  | { type: 'open'; channelId: number; body: Uint8Array }
  | { type: 'data'; channelId: number; first: boolean; last: boolean; epoch: number | undefined; chunk: Uint8Array }
  | { type: 'credit'; channelId: number; bytes: number }
  | { type: 'close'; channelId: number; reason: LinkCloseReason }
  /** Of a newer protocol; skipped. */
  | { type: 'unknown' };

export const maxChunkBytes = 32 * 1024;
export const maxFrameBytes = 128 * 1024;
const prefixBytes = 5;
const firstFlag = 1;
const lastFlag = 2;
const epochFlag = 4;
const closeReasons: readonly LinkCloseReason[] = ['closed', 'overflow', 'lost'];

export function bodyFrame(type: 'hello' | 'goodbye', body: Uint8Array): Buffer {
  return Buffer.concat([prefix(frameTypes[type], body.length, 0), body]);
}

export function beatFrame(type: 'ping' | 'pong', sequence: number): Buffer {
  const frame = prefix(frameTypes[type], 4, 4);
  frame.writeUInt32BE(sequence, prefixBytes);
  return frame;
}

export function openFrame(channelId: number, body: Uint8Array): Buffer {
  const head = prefix(frameTypes.open, 4 + body.length, 4);
  head.writeUInt32BE(channelId, prefixBytes);
  return Buffer.concat([head, body]);
}

export function creditFrame(channelId: number, bytes: number): Buffer {
  const frame = prefix(frameTypes.credit, 8, 8);
  frame.writeUInt32BE(channelId, prefixBytes);
  frame.writeUInt32BE(bytes, prefixBytes + 4);
  return frame;
}

export function closeFrame(channelId: number, reason: LinkCloseReason): Buffer {
  const frame = prefix(frameTypes.close, 5, 5);
  frame.writeUInt32BE(channelId, prefixBytes);
  frame.writeUInt8(closeReasons.indexOf(reason), prefixBytes + 4);
  return frame;
}

export type DataHead = {
  channelId: number;
  first: boolean;
  last: boolean;
  epoch: number | undefined;
  chunkBytes: number;
};

/** What stands before a chunk. Only the first chunk of a message carries its epoch. */
export function dataHead(data: DataHead): Buffer {
  const epoch = data.first ? data.epoch : undefined;
  const fieldBytes = epoch === undefined ? 5 : 13;
  const frame = prefix(frameTypes.data, fieldBytes + data.chunkBytes, fieldBytes);
  frame.writeUInt32BE(data.channelId, prefixBytes);
  frame.writeUInt8(
    (data.first ? firstFlag : 0) | (data.last ? lastFlag : 0) | (epoch === undefined ? 0 : epochFlag),
    prefixBytes + 4,
  );
  if (epoch !== undefined) {
    frame.writeDoubleBE(epoch, prefixBytes + 5);
  }
  return frame;
}

function prefix(type: number, restBytes: number, allocatedBytes: number): Buffer {
  const frame = Buffer.allocUnsafe(prefixBytes + allocatedBytes);
  frame.writeUInt32BE(1 + restBytes, 0);
  frame.writeUInt8(type, 4);
  return frame;
}

/** Cuts a byte stream into frames. What a frame carries is a view of the bytes that came. */
export class FrameReader {
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** Bytes that the frame under way needs, its length field included; 4 until that is there. */
  #neededBytes = 4;

  /** @throws PlenumError `relay-bad-frame`; the stream cannot be read any further then. */
  *push(chunk: Buffer): Generator<Frame, void, undefined> {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes < this.#neededBytes) {
      return;
    }
    let bytes = this.#waiting.length === 1 ? chunk : Buffer.concat(this.#waiting, this.#waitingBytes);
    this.#neededBytes = 4;
    while (bytes.length >= 4) {
      const frameBytes = 4 + checkedLength(bytes.readUInt32BE(0));
      if (bytes.length < frameBytes) {
        this.#neededBytes = frameBytes;
        break;
      }
      const frame = bytes.subarray(4, frameBytes);
      bytes = bytes.subarray(frameBytes);
      yield parse(frame);
    }
    this.#waiting = bytes.length > 0 ? [bytes] : [];
    this.#waitingBytes = bytes.length;
  }
}

function checkedLength(length: number): number {
  if (length < 1 || length > maxFrameBytes) {
    throw badFrame(`its length is ${length}`);
  }
  return length;
}

function parse(frame: Buffer): Frame {
  try {
    return parseFields(frame);
  } catch (error) {
    // Reading past the end is a RangeError.
    throw error instanceof RangeError ? badFrame('it is too short') : error;
  }
}

function parseFields(frame: Buffer): Frame {
  switch (frame.readUInt8(0)) {
    case frameTypes.hello:
      return { type: 'hello', body: frame.subarray(1) };
    case frameTypes.goodbye:
      return { type: 'goodbye', body: frame.subarray(1) };
    case frameTypes.ping:
      return { type: 'ping', sequence: frame.readUInt32BE(1) };
    case frameTypes.pong:
      return { type: 'pong', sequence: frame.readUInt32BE(1) };
    case frameTypes.open:
      return { type: 'open', channelId: frame.readUInt32BE(1), body: frame.subarray(5) };
    case frameTypes.data:
      return parseData(frame);
    case frameTypes.credit:
      return { type: 'credit', channelId: frame.readUInt32BE(1), bytes: frame.readUInt32BE(5) };
    case frameTypes.close:
      return { type: 'close', channelId: frame.readUInt32BE(1), reason: closeReasons[frame.readUInt8(5)] ?? 'lost' };
    default:
      return { type: 'unknown' };
  }
}

function parseData(frame: Buffer): Frame {
  const flags = frame.readUInt8(5);
  const hasEpoch = (flags & epochFlag) !== 0;
  return {
    type: 'data',
    channelId: frame.readUInt32BE(1),
    first: (flags & firstFlag) !== 0,
    last: (flags & lastFlag) !== 0,
    epoch: hasEpoch ? frame.readDoubleBE(6) : undefined,
    chunk: frame.subarray(hasEpoch ? 14 : 6),
  };
}
