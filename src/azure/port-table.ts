/**
 * Every port that a node of a deployment listens on, and who may reach it. Network rules, the load balancer, the
 * generated configuration and the documentation come from this one table.
 */

export type Protocol = 'Tcp' | 'Udp';

/** `internet` includes what comes through the load balancer, which keeps the client's address. */
export type PortSource = 'internet' | 'load-balancer-probe' | 'masters' | 'media' | 'bastion';

export type PortRow = {
  name: string;
  on: 'masters' | 'media';
  protocol: Protocol;
  first: number;
  last: number;
  from: readonly PortSource[];
  what: string;
  /** Reserved for what is not served yet; emits no rule. */
  inactive?: boolean;
};

const port = (first: number, last = first): { first: number; last: number } => ({ first, last });

export const portTable: readonly PortRow[] = [
  {
    name: 'Https',
    on: 'masters',
    protocol: 'Tcp',
    ...port(443),
    from: ['internet'],
    what: 'HTTPS, WSS, TURN over TLS',
  },
  { name: 'Http', on: 'masters', protocol: 'Tcp', ...port(80), from: ['internet'], what: 'ACME, redirect to HTTPS' },
  {
    name: 'Health',
    on: 'masters',
    protocol: 'Tcp',
    ...port(7880),
    from: ['load-balancer-probe', 'masters'],
    what: 'plain HTTP: health, administration between masters',
  },
  {
    name: 'Relay',
    on: 'masters',
    protocol: 'Tcp',
    ...port(7890),
    from: ['masters', 'media'],
    what: 'node-to-node relay',
  },
  { name: 'Redis', on: 'masters', protocol: 'Tcp', ...port(6379), from: ['masters', 'media'], what: 'Redis' },
  { name: 'Sentinel', on: 'masters', protocol: 'Tcp', ...port(26_379), from: ['masters', 'media'], what: 'Sentinel' },
  { name: 'Metrics', on: 'masters', protocol: 'Tcp', ...port(9090), from: ['masters'], what: 'metrics' },
  { name: 'Ssh', on: 'masters', protocol: 'Tcp', ...port(22), from: ['bastion'], what: 'SSH' },
  {
    name: 'Rtmp',
    on: 'masters',
    protocol: 'Tcp',
    ...port(1935),
    from: ['internet'],
    what: 'RTMP, once there is ingress',
    inactive: true,
  },
  {
    name: 'MediaUdp',
    on: 'media',
    protocol: 'Udp',
    ...port(50_000, 59_999),
    from: ['internet'],
    what: 'WebRTC',
  },
  {
    name: 'MediaTcp',
    on: 'media',
    protocol: 'Tcp',
    ...port(50_000, 59_999),
    from: ['internet'],
    what: 'ICE over TCP',
  },
  { name: 'TurnUdp', on: 'media', protocol: 'Udp', ...port(443), from: ['internet'], what: 'STUN, TURN' },
  {
    name: 'TurnTls',
    on: 'media',
    protocol: 'Tcp',
    ...port(5349),
    from: ['internet', 'masters'],
    what: 'TURN over TLS',
  },
  {
    name: 'TurnRelay',
    on: 'media',
    protocol: 'Udp',
    ...port(40_000, 49_999),
    from: ['internet'],
    what: 'TURN relay range',
  },
  {
    name: 'Health',
    on: 'media',
    protocol: 'Tcp',
    ...port(7880),
    from: ['load-balancer-probe', 'masters'],
    what: 'plain HTTP: health',
  },
  {
    name: 'Relay',
    on: 'media',
    protocol: 'Tcp',
    ...port(7890),
    from: ['masters', 'media'],
    what: 'node-to-node relay',
  },
  {
    name: 'Pipes',
    on: 'media',
    protocol: 'Udp',
    ...port(20_000, 29_999),
    from: ['media'],
    what: 'media between media nodes',
  },
  { name: 'Metrics', on: 'media', protocol: 'Tcp', ...port(9090), from: ['masters'], what: 'metrics' },
];

/** @throws Error when the table has no such row */
export function portOf(on: PortRow['on'], name: string): PortRow {
  const row = portTable.find((candidate) => candidate.on === on && candidate.name === name);
  if (row === undefined) {
    throw new Error(`the port table has no row ${name} for ${on}`);
  }
  return row;
}
