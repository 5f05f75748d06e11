/** Data Channel Establishment Protocol, RFC 8832: how a channel gets its label without negotiation in SDP. */

/** Payload protocol ids, RFC 8831 section 8. */
export const ppidDcep = 50;
export const ppidBinary = 53;
export const ppidBinaryEmpty = 57;

const messageAck = 0x02;
const messageOpen = 0x03;
const openHeaderBytes = 12;

export type ChannelReliability = 'reliable-ordered' | 'no-retransmits-unordered';

const channelTypes: Record<ChannelReliability, number> = {
  'reliable-ordered': 0x00,
  'no-retransmits-unordered': 0x81,
};

export type DcepMessage = { kind: 'open'; label: string; ordered: boolean } | { kind: 'ack' } | { kind: 'unknown' };

export function encodeOpen(label: string, reliability: ChannelReliability): Buffer {
  const labelBytes = Buffer.from(label, 'utf8');
  const message = Buffer.alloc(openHeaderBytes + labelBytes.length);
  message.writeUInt8(messageOpen, 0);
  message.writeUInt8(channelTypes[reliability], 1);
  // Priority 256 is WebRTC's `low`, its default. The reliability parameter stays 0: no retransmits where the type has any.
  message.writeUInt16BE(256, 2);
  message.writeUInt16BE(labelBytes.length, 8);
  labelBytes.copy(message, openHeaderBytes);
  return message;
}

export function encodeAck(): Buffer {
  return Buffer.of(messageAck);
}

/** Never throws: whatever a client sends that is no valid message is `unknown`. */
export function parseDcep(message: Uint8Array): DcepMessage {
  if (message[0] === messageAck) {
    return { kind: 'ack' };
  }
  if (message[0] !== messageOpen || message.length < openHeaderBytes) {
    return { kind: 'unknown' };
  }
  const view = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const labelEnd = openHeaderBytes + view.readUInt16BE(8);
  if (labelEnd > view.length) {
    return { kind: 'unknown' };
  }
  return {
    kind: 'open',
    label: view.toString('utf8', openHeaderBytes, labelEnd),
    ordered: (view.readUInt8(1) & 0x80) === 0,
  };
}
