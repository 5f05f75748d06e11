/** What the server checks and stamps on a participant's data packet, and who gets it (LiveKit contract 6.1). */
import { DataPacket, DataPacket_Kind, ParticipantInfo_Kind } from '@livekit/protocol';
import type { LegIdentity } from '../protocol/leg-messages.ts';

export type DataKind = 'reliable' | 'lossy';

/** Larger messages are dropped: the reference's receive buffer ends here, and senders stay below 64,000 bytes. */
export const maxDataPacketBytes = 65_535;

/** Undefined when the bytes are no data packet. */
export function decodeDataPacket(bytes: Uint8Array): DataPacket | undefined {
  try {
    return DataPacket.fromBinary(bytes);
  } catch {
    return undefined;
  }
}

/** Transcriptions are an agent's business; everything else with a known body is anybody's. */
export function mayCarry(sender: LegIdentity, packet: DataPacket): boolean {
  switch (packet.value.case) {
    case undefined:
    // Speaker lists are made by the server; the field survives in the schema only.
    case 'speaker':
      return false;
    case 'transcription':
      return sender.participantKind === ParticipantInfo_Kind.AGENT;
    default:
      return true;
  }
}

/** Writes channel and sender into the packet, whatever the sender claimed. Hidden senders stay nameless. */
export function stamp(packet: DataPacket, sender: LegIdentity, kind: DataKind): void {
  const sid = sender.hidden ? '' : sender.participantSid;
  const identity = sender.hidden ? '' : sender.identity;
  packet.kind = kind === 'reliable' ? DataPacket_Kind.RELIABLE : DataPacket_Kind.LOSSY;
  packet.participantSid = sid;
  if (!speaksForAnother(packet, sender)) {
    packet.participantIdentity = identity;
  }
  if (packet.value.case === 'user') {
    packet.value.value.participantSid = sid;
    packet.value.value.participantIdentity = identity;
  }
}

/** Agents relay generated chat messages and text in the name of the participant that they serve. */
function speaksForAnother(packet: DataPacket, sender: LegIdentity): boolean {
  if (sender.participantKind !== ParticipantInfo_Kind.AGENT || packet.participantIdentity === '') {
    return false;
  }
  const { value } = packet;
  if (value.case === 'chatMessage') {
    return value.value.generated;
  }
  return value.case === 'streamHeader' && value.value.contentHeader.case === 'textHeader';
}

/** Identities and sids that a packet is for; undefined = everybody. */
export function destinationsOf(packet: DataPacket): ReadonlySet<string> | undefined {
  const names = new Set(packet.destinationIdentities);
  if (packet.value.case === 'user') {
    for (const name of [...packet.value.value.destinationIdentities, ...packet.value.value.destinationSids]) {
      names.add(name);
    }
  }
  return names.size === 0 ? undefined : names;
}

/** The call that an ack or a response belongs to. */
export function rpcRequestIdOf(packet: DataPacket): string | undefined {
  const { value } = packet;
  return value.case === 'rpcAck' || value.case === 'rpcResponse' ? value.value.requestId : undefined;
}
