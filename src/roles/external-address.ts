/** How the internet sees this machine: what `rtc.use_external_ip` asks STUN servers (RFC 8489). */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import type { Role } from '../config/check-role.ts';
import type { Config } from '../config/options.ts';
import type { Logger } from '../observe/log.ts';
import { isWildcard } from './addresses.ts';
import { noExternalAddress } from './errors.ts';

/** Those that livekit-server asks when it is told none. */
const publicServers = ['stun.l.google.com:19302', 'stun1.l.google.com:19302', 'global.stun.twilio.com:3478'];

const bindingRequest = Buffer.from('000100002112a442', 'hex');
const bindingAnswer = 0x0101;
const xorMappedAddress = 0x0020;
const magicCookie = 0x2112a442;
const headerBytes = 20;
const familyIpv4 = 1;
const resendMs = 500;
const deadlineMs = 5_000;
const defaultPort = 3478;

/** The configuration with the address announced. @throws PlenumError `no-external-address` */
export async function withExternalAddress(config: Config, role: Role, log: Logger): Promise<Config> {
  const { rtc, bind_addresses: bound } = config;
  if (!rtc.use_external_ip || rtc.node_ip.length > 0 || role === 'master') {
    return config;
  }
  const servers = rtc.stun_servers.length > 0 ? rtc.stun_servers : publicServers;
  const address = await askExternalAddress(servers, rtc.bind_address || bound[0] || '0.0.0.0');
  log.info({ address, servers }, 'this address is announced to clients for media, as STUN servers see it');
  return { ...config, rtc: { ...rtc, node_ip: [address] } };
}

/** All are asked again and again; the first answer counts. IPv4 alone. @throws PlenumError `no-external-address` */
async function askExternalAddress(servers: readonly string[], localAddress: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const id = randomBytes(12);
  const socket = createSocket('udp4');
  const request = Buffer.concat([bindingRequest, id]);
  const ask = (): void => {
    for (const server of servers) {
      const [, host = server, port = defaultPort] = /^(?:stun:)?(.+?)(?::(\d+))?$/.exec(server) ?? [];
      // A name that does not resolve or a network that is not there yet: others may answer, or this one later.
      socket.send(request, Number(port), host, () => {});
    }
  };
  socket.on('message', (message) => {
    const address = readMappedAddress(message, id);
    if (address !== undefined) {
      resolve(address);
    }
  });
  socket.on('error', () => reject(noExternalAddress(servers)));
  socket.bind(0, isWildcard(localAddress) ? undefined : localAddress, ask);
  const again = setInterval(ask, resendMs);
  const late = setTimeout(() => reject(noExternalAddress(servers)), deadlineMs);
  try {
    return await promise;
  } finally {
    clearInterval(again);
    clearTimeout(late);
    socket.close();
  }
}

/** The IPv4 address in the answer to our request; undefined for anything else. */
function readMappedAddress(message: Buffer, id: Buffer): string | undefined {
  if (
    message.length < headerBytes ||
    message.readUInt16BE(0) !== bindingAnswer ||
    !message.subarray(8, 20).equals(id)
  ) {
    return undefined;
  }
  for (let offset = headerBytes; offset + 4 <= message.length;) {
    const sizeBytes = message.readUInt16BE(offset + 2);
    const value = message.subarray(offset + 4, offset + 4 + sizeBytes);
    if (message.readUInt16BE(offset) === xorMappedAddress && value.length >= 8 && value[1] === familyIpv4) {
      const address = Buffer.alloc(4);
      address.writeUInt32BE((value.readUInt32BE(4) ^ magicCookie) >>> 0);
      return [...address].join('.');
    }
    // Attributes are padded to four bytes.
    offset += 4 + Math.ceil(sizeBytes / 4) * 4;
  }
  return undefined;
}
