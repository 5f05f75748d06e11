/** What a TURN server is told, from the options and what the node knows about itself. */
import { hkdfSync } from 'node:crypto';
import { isIPv4 } from 'node:net';
import type { Config } from '../config/options.ts';

export type TurnSettings = {
  program: string;
  realm: string;
  /** From which time-limited credentials are made, the same on all nodes, so that each can make them for all. */
  secrets: readonly string[];
  /** Address that it listens on and relays from. */
  address: string;
  /** Address under which clients reach `address`; equal to it without translation in between. */
  publicAddress: string;
  udpPort: number;
  /** 0 = no TLS. */
  tlsPort: number;
  /** For connections whose TLS has ended at a load balancer; 0 = none. */
  plainPort: number;
  relayPortStart: number;
  relayPortEnd: number;
  allocationsPerUser: number;
  /** IPv4 addresses and networks that may be relayed to from the start, besides the nodes that come and go. */
  peerNetworks: readonly string[];
};

export type TurnPlace = {
  address: string;
  publicAddress: string;
  secrets: readonly string[];
  /** Of the media of this node. */
  ownAddresses: readonly string[];
};

export function turnSettings({ cluster, tls, turn }: Config, place: TurnPlace): TurnSettings {
  return {
    program: turn.program,
    realm: cluster.name,
    secrets: place.secrets,
    address: place.address,
    publicAddress: place.publicAddress,
    udpPort: turn.udp_port,
    tlsPort: tls.mode === 'off' ? 0 : turn.tls_port,
    plainPort: tls.mode === 'off' && turn.external_tls ? turn.tls_port : 0,
    relayPortStart: turn.relay_range_start,
    relayPortEnd: turn.relay_range_end,
    allocationsPerUser: turn.per_user_relay_allocation_limit,
    peerNetworks: [
      ...new Set([place.address, ...place.ownAddresses.filter((one) => isIPv4(one)), ...turn.allow_peer_cidrs]),
    ],
  };
}

/** The secret of the cluster's TURN servers: who learns it cannot work back to that of the cluster. */
export function turnSecret(cluster: string, clusterSecret: string): string {
  return Buffer.from(hkdfSync('sha256', clusterSecret, 'plenum turn', cluster, 32)).toString('hex');
}
