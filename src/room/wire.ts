/** Protobuf frames put together from parts that are already encoded, so that one encoding serves many receivers. */
import { SignalResponse } from '@livekit/protocol';

export type SignalMessage = SignalResponse['message'];

export function encodeSignal(message: SignalMessage): Uint8Array {
  return new SignalResponse({ message }).toBinary();
}

/** Field numbers of livekit_rtc.proto. */
const signalResponseJoin = 1;
const signalResponseUpdate = 5;
const joinOtherParticipants = 3;
const updateParticipants = 1;

/** A SignalResponse `update` from encoded ParticipantInfo messages. */
export function encodeUpdate(infos: readonly Uint8Array[]): Uint8Array {
  return lengthDelimited(
    signalResponseUpdate,
    concat(...infos.map((info) => lengthDelimited(updateParticipants, info))),
  );
}

/** A SignalResponse `join` from an encoded JoinResponse without the others and their encoded ParticipantInfo messages. */
export function encodeJoin(join: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  const body = concat(join, ...others.map((info) => lengthDelimited(joinOtherParticipants, info)));
  return lengthDelimited(signalResponseJoin, body);
}

/** A field of wire type 2. Field numbers up to 15 take one byte of tag. */
function lengthDelimited(fieldNumber: number, body: Uint8Array): Uint8Array {
  const header = [(fieldNumber << 3) | 2];
  let rest = body.length;
  while (rest > 127) {
    header.push((rest & 127) | 128);
    rest >>>= 7;
  }
  header.push(rest);
  return concat(Uint8Array.from(header), body);
}

function concat(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
