/** The files of a node, as text: configuration, Redis, Sentinel, and what operators look at. Pure. */
import { stringify } from 'yaml';
import type { Deployment, MasterDeployment, MediaDeployment } from './deployment.ts';
import { secretNames } from './deployment-secrets.ts';
import { portOf } from './port-table.ts';

export type NodeFacts = {
  privateAddress: string;
  publicAddress: string;
  zone: string;
  /** What Azure calls the machine, and what the machine calls itself. */
  machineName: string;
  computerName: string;
};

export type NodeSecrets = ReadonlyMap<string, string>;

export type NodeFile = {
  path: string;
  content: string;
  /** Of the file: 0600 and its like for secrets. */
  mode: number;
  owner: 'root' | 'plenum' | 'redis';
  /** Written by its program from then on. */
  once?: true;
  /** Units that must start again when it has changed. */
  restarts?: readonly string[];
};

export const unitNames = {
  redis: 'plenum-redis.service',
  sentinel: 'plenum-sentinel.service',
  plenum: 'plenum.service',
} as const;

export const paths = {
  config: '/etc/plenum/plenum.yaml',
  redisBase: '/etc/plenum/redis.conf',
  redisOwn: '/var/lib/plenum-redis/redis.conf',
  sentinelOwn: '/var/lib/plenum-sentinel/sentinel.conf',
  sysctl: '/etc/sysctl.d/60-plenum.conf',
  operatorFolder: '/opt/openvidu/config/cluster',
} as const;

const sentinelMaster = 'plenum';
/** Of four masters three vote: an even number adds nothing but a tie. */
const sentinelCount = 3;
const sentinelQuorum = 2;

export function runsSentinel({ masters }: Deployment, facts: NodeFacts): boolean {
  return masters.slice(0, sentinelCount).includes(facts.privateAddress);
}

function secret(secrets: NodeSecrets, name: string): string {
  return secrets.get(name) ?? '';
}

/** Names are those of the configuration reference. */
export function plenumConfig(deployment: Deployment, facts: NodeFacts, secrets: NodeSecrets): Record<string, unknown> {
  const { stack, location, masters } = deployment;
  const password = secret(secrets, secretNames.redisPassword);
  const common = {
    port: portOf('media', 'Health').first,
    // Loopback for commands on the node itself; nodes of a simulation share it.
    bind_addresses: [facts.privateAddress, ...(deployment.simulated === undefined ? ['127.0.0.1'] : [])],
    keys: { [secret(secrets, secretNames.apiKey)]: secret(secrets, secretNames.apiSecret) },
    region: location,
    zone: facts.zone,
    prometheus_port: portOf('media', 'Metrics').first,
    redis: {
      sentinel_master_name: sentinelMaster,
      sentinel_addresses: masters
        .slice(0, sentinelCount)
        .map((address) => `${address}:${portOf('masters', 'Sentinel').first}`),
      password,
      sentinel_password: password,
    },
    cluster: {
      name: stack,
      machine_id: facts.computerName,
      secret: secret(secrets, secretNames.clusterSecret),
      relay_port: portOf('media', 'Relay').first,
      relay_bind_addresses: [facts.privateAddress],
      relay_address: facts.privateAddress,
    },
  };
  const own = deployment.role === 'master' ? masterConfig(deployment, secrets) : mediaConfig(deployment, facts);
  return { ...common, ...own };
}

function masterConfig(deployment: MasterDeployment, secrets: NodeSecrets): Record<string, unknown> {
  const { capacity, certificate, publicHost } = deployment;
  const isName = !/^[\d.]+$/.test(publicHost);
  return {
    tls: {
      mode: certificate.type,
      ...(isName ? { domain: publicHost } : { names: [publicHost] }),
      port: portOf('masters', 'Https').first,
      http_port: portOf('masters', 'Http').first,
      state_dir: '/var/lib/plenum',
      ...(certificate.email === '' ? {} : { acme: { email: certificate.email } }),
      ...(certificate.type === 'owncert'
        ? {
            certificate: secret(secrets, secretNames.publicCertificate),
            key: secret(secrets, secretNames.privateCertificate),
          }
        : {}),
    },
    turn: turnConfig(deployment),
    capacity: {
      provider: 'azure',
      min: capacity.min,
      max: capacity.max,
      target_cpu: capacity.targetCpuPercent / 100,
      drain_policy: capacity.drainPolicy,
      drain_deadline: capacity.drainDeadlineMinutes * 60,
      ...(deployment.simulated === undefined
        ? {}
        : { scale_out_after: 10, scale_in_after: 300 / deployment.simulated.speed }),
    },
    azure: {
      subscription_id: deployment.subscriptionId,
      resource_group: deployment.resourceGroup,
      scale_set: deployment.scaleSet,
      client_id: deployment.identityClientId,
      arm_endpoint: deployment.armEndpoint,
    },
  };
}

function mediaConfig(deployment: MediaDeployment, facts: NodeFacts): Record<string, unknown> {
  const media = portOf('media', 'MediaUdp');
  const pipes = portOf('media', 'Pipes');
  return {
    rtc: {
      node_ip: [facts.publicAddress],
      bind_address: facts.privateAddress,
      pipe_address: facts.privateAddress,
      port_range_start: media.first,
      port_range_end: media.last,
      pipe_port_range_start: pipes.first,
      pipe_port_range_end: pipes.last,
      ...(deployment.simulated === undefined ? {} : { workers: 1 }),
    },
    turn: turnConfig(deployment),
    azure: {
      scheduled_events: true,
      machine_name: facts.machineName,
      ...(deployment.metadataUrl === undefined ? {} : { metadata_url: deployment.metadataUrl }),
    },
    ...(deployment.simulated === undefined ? {} : { node_limit: { cores: deployment.simulated.cores } }),
  };
}

function turnConfig({ turn, simulated }: Deployment): Record<string, unknown> {
  const relay = portOf('media', 'TurnRelay');
  return {
    // The machine of a simulation need not have its program.
    enabled: simulated === undefined,
    ...(turn.domain === '' ? {} : { domain: turn.domain }),
    external_tls: turn.hasOwnAddress,
    udp_port: portOf('media', 'TurnUdp').first,
    tls_port: portOf('media', 'TurnTls').first,
    relay_range_start: relay.first,
    relay_range_end: relay.last,
  };
}

/** Everything that this node needs, with the secrets in files that only their reader can open. */
export function nodeFiles(deployment: Deployment, facts: NodeFacts, secrets: NodeSecrets): NodeFile[] {
  const config: NodeFile = {
    path: paths.config,
    content: stringify(plenumConfig(deployment, facts, secrets)),
    mode: 0o600,
    owner: 'plenum',
    restarts: [unitNames.plenum],
  };
  const sysctl: NodeFile = {
    path: paths.sysctl,
    // Hundreds of clients of one worker send at once; Debian's default drops packets then.
    content: 'net.core.rmem_max = 4194304\nnet.core.wmem_max = 4194304\n',
    mode: 0o644,
    owner: 'root',
  };
  return deployment.role === 'master'
    ? [config, sysctl, redisBase(facts, secrets), ...operatorFiles(deployment, secrets)]
    : [config, sysctl];
}

function redisBase({ privateAddress }: NodeFacts, secrets: NodeSecrets): NodeFile {
  const password = secret(secrets, secretNames.redisPassword);
  const lines = [
    `bind ${privateAddress}`,
    `port ${portOf('masters', 'Redis').first}`,
    'daemonize no',
    'protected-mode yes',
    `requirepass ${password}`,
    `masterauth ${password}`,
    // All replicas ask within moments of the first boot; waiting for more of them would only delay it.
    'repl-diskless-sync-delay 0',
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    // A master that lost its replicas must not accept what nobody else knows.
    'min-replicas-to-write 1',
    'min-replicas-max-lag 10',
    'maxmemory-policy noeviction',
    'dir /var/lib/plenum-redis',
    `replica-announce-ip ${privateAddress}`,
  ];
  return {
    path: paths.redisBase,
    content: `${lines.join('\n')}\n`,
    mode: 0o600,
    owner: 'redis',
    restarts: [unitNames.redis],
  };
}

/** Redis writes to it who its master is, so it is made once. @param master undefined for the one that begins as it */
export function redisOwn(master: string | undefined): NodeFile {
  const follow = master === undefined ? [] : [`replicaof ${master} ${portOf('masters', 'Redis').first}`];
  return {
    path: paths.redisOwn,
    content: `${[`include ${paths.redisBase}`, ...follow].join('\n')}\n`,
    mode: 0o600,
    owner: 'redis',
    once: true,
  };
}

/** Sentinel keeps in it what it has learned. */
export function sentinelOwn(facts: NodeFacts, master: string, secrets: NodeSecrets): NodeFile {
  const password = secret(secrets, secretNames.redisPassword);
  const lines = [
    `bind ${facts.privateAddress}`,
    `port ${portOf('masters', 'Sentinel').first}`,
    'daemonize no',
    'protected-mode no',
    'dir /var/lib/plenum-sentinel',
    `sentinel announce-ip ${facts.privateAddress}`,
    `requirepass ${password}`,
    `sentinel sentinel-pass ${password}`,
    `sentinel monitor ${sentinelMaster} ${master} ${portOf('masters', 'Redis').first} ${sentinelQuorum}`,
    `sentinel auth-pass ${sentinelMaster} ${password}`,
    `sentinel down-after-milliseconds ${sentinelMaster} 5000`,
    `sentinel failover-timeout ${sentinelMaster} 60000`,
    `sentinel parallel-syncs ${sentinelMaster} 1`,
  ];
  return {
    path: paths.sentinelOwn,
    content: `${lines.join('\n')}\n`,
    mode: 0o600,
    owner: 'redis',
    once: true,
  };
}

/** Where operators of the described system look for credentials. */
function operatorFiles(deployment: MasterDeployment, secrets: NodeSecrets): NodeFile[] {
  const { publicHost, certificate, turn } = deployment;
  const key = secret(secrets, secretNames.apiKey);
  const value = secret(secrets, secretNames.apiSecret);
  const env = (values: Record<string, string>): string =>
    Object.entries(values)
      .map(([name, text]) => `${name}=${text}\n`)
      .join('');
  const file = (name: string, content: string): NodeFile => ({
    path: `${paths.operatorFolder}/${name}`,
    content: `# Written by plenum node init. Change secrets in the key vault, then: systemctl restart plenum-bootstrap\n${content}`,
    mode: 0o600,
    owner: 'root',
  });
  return [
    file(
      'openvidu.env',
      env({
        DOMAIN_NAME: publicHost,
        LIVEKIT_API_KEY: key,
        LIVEKIT_API_SECRET: value,
        LIVEKIT_TURN_DOMAIN_NAME: turn.domain,
        LETSENCRYPT_EMAIL: certificate.email,
        OPENVIDU_RTC_ENGINE: 'mediasoup',
      }),
    ),
    file(
      'master_node/app.env',
      env({ LIVEKIT_URL: `wss://${publicHost}/`, LIVEKIT_API_KEY: key, LIVEKIT_API_SECRET: value }),
    ),
  ];
}
