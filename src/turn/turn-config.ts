/** coturn's configuration as text. */
import type { TurnSettings } from './turn-settings.ts';

export type TurnFiles = {
  /** PEM; undefined while there is no certificate. */
  certificate: string | undefined;
  key: string;
  peers: string;
  pid: string;
};

/** @throws Error when a value could end its line and begin another */
export function turnConfig(settings: TurnSettings, files: TurnFiles): string {
  const lines = [
    ...listeners(settings, files),
    ...credentials(settings),
    ...peers(settings, files),
    // Nothing that is not needed: no control port, no detection of NAT types, no version in answers, no log files.
    'no-cli',
    'no-rfc5780',
    'no-software-attribute',
    'log-file=stdout',
    'simple-log',
    'verbose',
    `pidfile=${files.pid}`,
  ];
  const broken = lines.find((line) => /[\r\n]/.test(line));
  if (broken !== undefined) {
    throw new Error(`a TURN option has more than one line: ${broken.split('=')[0]}`);
  }
  return `${lines.join('\n')}\n`;
}

function listeners(settings: TurnSettings, files: TurnFiles): string[] {
  const { address, publicAddress, udpPort, tlsPort, plainPort, relayPortStart, relayPortEnd } = settings;
  const hasTls = tlsPort !== 0 && files.certificate !== undefined;
  return [
    `listening-ip=${address}`,
    `relay-ip=${address}`,
    ...(publicAddress === address ? [] : [`external-ip=${publicAddress}/${address}`]),
    `listening-port=${udpPort}`,
    `min-port=${relayPortStart}`,
    `max-port=${relayPortEnd}`,
    // Plain TCP from clients helps nobody whom TLS does not help too, and DTLS no browser. Without the first, the port of
    // UDP takes TCP as well.
    ...(plainPort === 0 ? ['no-tcp'] : [`aux-server=${address}:${plainPort}`]),
    'no-dtls',
    ...(hasTls
      ? [
          `tls-listening-port=${tlsPort}`,
          `cert=${files.certificate}`,
          `pkey=${files.key}`,
          'no-tlsv1',
          'no-tlsv1_1',
          'cipher-list=ECDHE+AESGCM:ECDHE+CHACHA20',
        ]
      : ['no-tls']),
  ];
}

function credentials({ realm, secrets, allocationsPerUser }: TurnSettings): string[] {
  return [
    `realm=${realm}`,
    'use-auth-secret',
    ...secrets.map((secret) => `static-auth-secret=${secret}`),
    'fingerprint',
    'stale-nonce=600',
    `user-quota=${allocationsPerUser}`,
  ];
}

/**
 * coturn lets what is allowed win over what is denied. The list of nodes changes while it runs, so it stands in the
 * database, which coturn reads every few seconds and not at its start; what is known from the start stands here.
 */
function peers({ peerNetworks, address, publicAddress }: TurnSettings, files: TurnFiles): string[] {
  const isLocal = [address, publicAddress].some((one) => one.startsWith('127.'));
  return [
    'denied-peer-ip=0.0.0.0-255.255.255.255',
    'denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    ...peerNetworks.map((network) => `allowed-peer-ip=${toRange(network)}`),
    // Only for a node that itself is on loopback alone.
    ...(isLocal ? ['allow-loopback-peers'] : []),
    'no-multicast-peers',
    'no-tcp-relay',
    `userdb=${files.peers}`,
  ];
}

/** An IPv4 address or network as coturn writes it: `first-last`. @throws Error for anything else */
export function toRange(network: string): string {
  const [address = '', prefix = '32'] = network.split('/');
  const bytes = address.split('.').map(Number);
  const bits = Number(prefix);
  const isValid = bytes.length === 4 && bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255);
  if (!isValid || !Number.isInteger(bits) || bits < 0 || bits > 32) {
    throw new Error(`not an IPv4 network: ${network}`);
  }
  const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  const size = 2 ** (32 - bits);
  const first = Math.floor(value / size) * size;
  return size === 1 ? toText(first) : `${toText(first)}-${toText(first + size - 1)}`;
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
