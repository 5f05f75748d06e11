/** The TURN server of a media node, and how clients reach it. */
import { randomBytes } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { clusterSecrets } from '../cluster/relay-config.ts';
import type { Config } from '../config/options.ts';
import type { TurnBackend } from '../edge/turn-splice.ts';
import type { MediaSettings } from '../media/media-types.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { turnUnusable } from '../turn/errors.ts';
import { toRange } from '../turn/turn-config.ts';
import type { TurnAccess } from '../turn/turn-access.ts';
import { TurnServer } from '../turn/turn-server.ts';
import { turnSecret, turnSettings } from '../turn/turn-settings.ts';
import { isWildcard, machineAddresses } from './addresses.ts';
import { LostRelays, type RelaysLost } from './lost-relays.ts';
import { startCertificates, type Certificates } from './certificate-parts.ts';
import type { ClusterNode } from './cluster-node.ts';

export type TurnParts = {
  config: Config;
  log: Logger;
  metrics: Metrics;
  stack: AsyncDisposableStack;
  media: MediaSettings;
  certificates: Certificates | undefined;
  /** In a cluster. */
  others?: OtherNodes;
};

type OtherNodes = {
  /** Addresses of all nodes that carry media, asked again and again. */
  mediaAddresses: () => readonly string[];
  /** Under which clients reach the TURN servers of other nodes, while those serve. */
  turnAddresses: () => readonly string[];
};

export type Turn = {
  /** For a participant that asks now. */
  access: () => TurnAccess;
  /** Where TURN over TLS is served; undefined while it is not. */
  backend: () => TurnBackend | undefined;
  /** Calls it with what tells whether an address and port were a relay that is gone. */
  onRelaysLost: (listener: RelaysLost) => void;
};

export type NodeTurnParts = Pick<TurnParts, 'config' | 'log' | 'metrics' | 'stack' | 'media'> & { node: ClusterNode };

/** On a node of a cluster: with the certificate that the masters keep, for media to all nodes that carry some. */
export async function startNodeTurn({ node, ...parts }: NodeTurnParts): Promise<Turn | undefined> {
  if (!parts.config.turn.enabled) {
    return undefined;
  }
  const { nodeId, store: cluster, nodes } = node;
  const certificates = await startCertificates({ ...parts, nodeId, cluster, manages: false });
  const mediaAddresses = (): string[] =>
    nodes.liveMedia().flatMap(({ publicAddress, relay: { host: privateAddress } }) => [publicAddress, privateAddress]);
  const turnAddresses = (): string[] =>
    nodes
      .liveMedia()
      .filter((other) => other.nodeId !== nodeId && other.turn !== undefined && other.state === 'SERVING')
      .map(({ publicAddress }) => publicAddress);
  return startTurn({ ...parts, certificates, others: { mediaAddresses, turnAddresses } });
}

const firstCertificateMs = 3_000;
const peersIntervalMs = 2_000;
/** Clients behind the relay of a node that has ended hear nothing until they are told. */
const relaysIntervalMs = 200;

/** Undefined with `turn.enabled` off. Rejects with `turn-unusable` when coturn cannot run. */
export async function startTurn(parts: TurnParts): Promise<Turn | undefined> {
  const { config, log, metrics, stack, media, certificates, others } = parts;
  if (!config.turn.enabled) {
    return undefined;
  }
  const address = ownAddress(config, media);
  const publicAddress = media.announcedAddresses.find((one) => isIPv4(one)) ?? address;
  const secrets = sharedSecrets(config);
  const settings = turnSettings(config, { address, publicAddress, secrets, ownAddresses: media.announcedAddresses });
  // With a certificate from the start it need not be started again as soon as there is one.
  await certificates?.holder.first(firstCertificateMs);
  const lost = stack.adopt(new LostRelays(config), (value) => value.close());
  const server = await TurnServer.start({
    settings,
    observer: metrics.turn,
    onBack: () => lost.serverEnded([address, publicAddress]),
    log,
    certificate: certificates?.holder.current?.certificate,
  });
  stack.adopt(server, (value) => value.close());
  certificates?.holder.follow(({ certificate }) => {
    server.use(certificate).catch((error: unknown) => log.error({ err: error }, 'the TURN server got no certificate'));
  });
  const addresses = (): string[] => (others?.mediaAddresses() ?? []).flatMap(rangeOf);
  const allow = (): void => server.allowPeers(addresses());
  allow();
  const timers = [setInterval(allow, peersIntervalMs), setInterval(() => lost.nodesAre(addresses()), relaysIntervalMs)];
  stack.defer(() => timers.forEach((timer) => clearInterval(timer)));
  return {
    access: () => {
      // One that has just ended is back in a moment; when it is not, the next node relays to all of them as well.
      const [other] = server.isHealthy ? [] : (others?.turnAddresses() ?? []);
      return turnAccess(config, { publicAddress: other ?? publicAddress, secret: secrets[0] ?? '' });
    },
    backend: () =>
      server.isHealthy && settings.tlsPort !== 0 && certificates?.holder.current !== undefined
        ? { host: address, port: settings.tlsPort }
        : undefined,
    onRelaysLost: (listener) => lost.onLost(listener),
  };
}

function turnAccess(config: Config, { publicAddress, secret }: { publicAddress: string; secret: string }): TurnAccess {
  const { tls, turn, rtc } = config;
  const domain = turn.domain || tls.domain || tls.names[0] || '';
  // Through the masters, or through a load balancer of its own, which has the usual port.
  const port = turn.external_tls ? 443 : tls.port;
  return {
    udp: `${publicAddress}:${turn.udp_port}`,
    tls: (tls.mode === 'off' && !turn.external_tls) || domain === '' ? '' : `${domain}:${port}`,
    secret,
    ttlS: turn.ttl_seconds,
    forceRelay: rtc.force_relay,
  };
}

/** Relayed media leaves from where it is received: coturn has to know that address and cannot be bound to all. */
function ownAddress({ turn }: Config, media: MediaSettings): string {
  if (turn.address !== '') {
    return turn.address;
  }
  if (isWildcard(media.listenAddress)) {
    return machineAddresses()[0] ?? '127.0.0.1';
  }
  if (!isIPv4(media.listenAddress)) {
    throw turnUnusable(
      `only IPv4 is relayed, and media listens on ${media.listenAddress}; name an IPv4 address of this machine in \`turn.address\``,
    );
  }
  return media.listenAddress;
}

/** Those of before are accepted too, while a cluster changes its secret node by node. */
function sharedSecrets({ cluster }: Config): string[] {
  const isAlone = cluster.secret === '' && cluster.secret_file === '';
  return isAlone
    ? [randomBytes(32).toString('hex')]
    : clusterSecrets(cluster).map((secret) => turnSecret(cluster.name, secret));
}

/** Only IPv4 is relayed; names of nodes are for nodes. */
function rangeOf(address: string): string[] {
  try {
    return [toRange(address)];
  } catch {
    return [];
  }
}
