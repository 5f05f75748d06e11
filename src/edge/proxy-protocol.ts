/** The header with which a load balancer says who connected to it: PROXY protocol, versions 1 and 2. */
import { isIP } from 'node:net';

export type ProxyHeader =
  /** The connection begins with something else. */
  | { kind: 'none' }
  | { kind: 'incomplete' }
  | { kind: 'bad' }
  /** `address` is undefined when the proxy speaks for itself, as in its health checks. */
  | { kind: 'header'; address: string | undefined; lengthBytes: number };

const signature1 = Buffer.from('PROXY ');
const signature2 = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const maxLength1 = 107;
const maxLength2 = 4_096;

/** @param bytes the beginning of the connection */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  if (begins(bytes, signature1)) {
    return bytes.length < signature1.length ? { kind: 'incomplete' } : readVersion1(bytes);
  }
  if (begins(bytes, signature2)) {
    return bytes.length < 16 ? { kind: 'incomplete' } : readVersion2(bytes);
  }
  return { kind: 'none' };
}

/** Whether as much as there is of `bytes` agrees with the signature. */
function begins(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.subarray(0, length).equals(signature.subarray(0, length));
}

function readVersion1(bytes: Buffer): ProxyHeader {
  const end = bytes.indexOf('\r\n');
  if (end === -1) {
    return bytes.length >= maxLength1 ? { kind: 'bad' } : { kind: 'incomplete' };
  }
  const [, family, source] = bytes.subarray(0, end).toString('latin1').split(' ');
  const lengthBytes = end + 2;
  if (family === 'UNKNOWN') {
    return { kind: 'header', address: undefined, lengthBytes };
  }
  const isKnown = (family === 'TCP4' && isIP(source ?? '') === 4) || (family === 'TCP6' && isIP(source ?? '') === 6);
  return isKnown && lengthBytes <= maxLength1 ? { kind: 'header', address: source, lengthBytes } : { kind: 'bad' };
}

function readVersion2(bytes: Buffer): ProxyHeader {
  const [version, command] = [bytes.readUInt8(12) >> 4, bytes.readUInt8(12) & 0x0f];
  const family = bytes.readUInt8(13) >> 4;
  const lengthBytes = 16 + bytes.readUInt16BE(14);
  if (version !== 2 || command > 1 || lengthBytes > maxLength2) {
    return { kind: 'bad' };
  }
  if (bytes.length < lengthBytes) {
    return { kind: 'incomplete' };
  }
  const isLocal = command === 0;
  if (!isLocal && family === 1 && lengthBytes >= 28) {
    return { kind: 'header', address: [...bytes.subarray(16, 20)].join('.'), lengthBytes };
  }
  if (!isLocal && family === 2 && lengthBytes >= 52) {
    return { kind: 'header', address: toIpv6(bytes.subarray(16, 32)), lengthBytes };
  }
  return { kind: 'header', address: undefined, lengthBytes };
}

function toIpv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  return groups.join(':');
}
