/** Signal frames at the edge: pings are answered here, everything else passes on as the bytes that came. */
import { Pong, SignalRequest, SignalResponse } from '@livekit/protocol';

export type SignalPeek =
  | { kind: 'ping' }
  | { kind: 'pingReq' }
  /** A message without content; there is nothing to do. */
  | { kind: 'empty' }
  | { kind: 'message'; fieldNumber: number }
  /** Not a sequence of protobuf fields. What is inside a field is for its reader to check. */
  | { kind: 'malformed' };

const pingField = 14;
const pingReqField = 16;

/**
 * Tells what a protobuf `SignalRequest` carries without decoding it: an offer or sync state can be long, and the edge has
 * no use for its content. Of several fields the last one counts, as protobuf defines it for a `oneof`.
 */
export function peekSignalRequest(message: Uint8Array): SignalPeek {
  let fieldNumber: number | undefined;
  let offset = 0;
  while (offset < message.length) {
    const tag = readVarint(message, offset);
    if (tag === undefined) {
      return { kind: 'malformed' };
    }
    fieldNumber = Math.floor(tag.value / 8);
    const end = skipField(message, tag.end, tag.value % 8);
    // 2^29 - 1 is the highest field number that protobuf knows.
    if (end === undefined || fieldNumber === 0 || fieldNumber > 0x1fff_ffff) {
      return { kind: 'malformed' };
    }
    offset = end;
  }
  switch (fieldNumber) {
    case undefined:
      return { kind: 'empty' };
    case pingField:
      return { kind: 'ping' };
    case pingReqField:
      return { kind: 'pingReq' };
    default:
      return { kind: 'message', fieldNumber };
  }
}

/** The offset behind the field's value, or undefined when the value does not fit. */
function skipField(message: Uint8Array, start: number, wireType: number): number | undefined {
  let end: number;
  switch (wireType) {
    case 0:
      return readVarint(message, start)?.end;
    case 1:
      end = start + 8;
      break;
    case 2: {
      const length = readVarint(message, start);
      if (length === undefined) {
        return undefined;
      }
      end = length.end + length.value;
      break;
    }
    case 5:
      end = start + 4;
      break;
    default:
      // Groups (3, 4) are not part of proto3; 6 and 7 do not exist.
      return undefined;
  }
  return end <= message.length ? end : undefined;
}

function readVarint(message: Uint8Array, start: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let index = 0; index < 10; index += 1) {
    const byte = message[start + index];
    if (byte === undefined) {
      return undefined;
    }
    // Past 2^53 this loses precision, but such a value is only ever skipped or too large to fit.
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) {
      return { value, end: start + index + 1 };
    }
  }
  return undefined;
}

/** The answer to a `ping` or `ping_req`, or undefined when the message is neither or cannot be decoded. */
export function answerPing(message: Uint8Array, nowMs: number): Uint8Array | undefined {
  const request = decodeSignalRequest(message)?.message;
  const timestamp = BigInt(Math.floor(nowMs));
  switch (request?.case) {
    case 'ping':
      return new SignalResponse({ message: { case: 'pong', value: timestamp } }).toBinary();
    case 'pingReq': {
      const value = new Pong({ lastPingTimestamp: request.value.timestamp, timestamp });
      return new SignalResponse({ message: { case: 'pongResp', value } }).toBinary();
    }
    default:
      return undefined;
  }
}

/** Undefined when the bytes are not a SignalRequest. */
export function decodeSignalRequest(message: Uint8Array): SignalRequest | undefined {
  try {
    return SignalRequest.fromBinary(message);
  } catch {
    return undefined;
  }
}

/** Protobuf of a protojson `SignalRequest`, or undefined when the text is not one. Unknown fields are dropped: clients may be newer. */
export function signalRequestFromJson(text: string): Uint8Array | undefined {
  try {
    return SignalRequest.fromJsonString(text, { ignoreUnknownFields: true }).toBinary();
  } catch {
    return undefined;
  }
}

/** Protojson of a protobuf `SignalResponse`. Throws when the bytes are not one: they come from our own side. */
export function signalResponseToJson(message: Uint8Array): string {
  return SignalResponse.fromBinary(message).toJsonString();
}
