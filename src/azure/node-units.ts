/** The services of a node, for systemd. Pure. */
import type { Deployment } from './deployment.ts';
import { paths, unitNames, type NodeFile } from './node-files.ts';

type Unit = { name: string; description: string; service: string[]; after?: string };

/** What every service of ours may not do. */
const confinement = [
  'NoNewPrivileges=yes',
  'PrivateTmp=yes',
  'PrivateDevices=yes',
  'ProtectSystem=strict',
  'ProtectHome=yes',
  'ProtectKernelTunables=yes',
  'ProtectKernelModules=yes',
  'ProtectKernelLogs=yes',
  'ProtectControlGroups=yes',
  'ProtectClock=yes',
  'ProtectHostname=yes',
  'RestrictSUIDSGID=yes',
  'RestrictRealtime=yes',
  'RestrictNamespaces=yes',
  'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
  'LockPersonality=yes',
  'SystemCallArchitectures=native',
];

const program = '/opt/plenum/current/bin/plenum';

function plenum(deployment: Deployment): Unit {
  const isMedia = deployment.role === 'media';
  return {
    name: unitNames.plenum,
    description: `Plenum ${deployment.role} node`,
    service: [
      'Type=notify',
      'NotifyAccess=all',
      'User=plenum',
      'Group=plenum',
      `ExecStart=${program} start --role ${deployment.role} --config ${paths.config}`,
      'StateDirectory=plenum',
      'StateDirectoryMode=0700',
      // SIGTERM drains a media node, however long its calls last; the main process ends its workers itself.
      'KillMode=mixed',
      `TimeoutStopSec=${isMedia ? 'infinity' : '30'}`,
      'TimeoutStartSec=120',
      'WatchdogSec=60',
      'Restart=always',
      'RestartSec=2',
      'LimitNOFILE=1048576',
      // HTTPS and TURN are below port 1024.
      'AmbientCapabilities=CAP_NET_BIND_SERVICE',
      'CapabilityBoundingSet=CAP_NET_BIND_SERVICE',
      ...confinement,
    ],
  };
}

function redis(kind: 'redis' | 'sentinel'): Unit {
  const isSentinel = kind === 'sentinel';
  const folder = `plenum-${kind}`;
  const config = isSentinel ? `${paths.sentinelOwn} --sentinel` : paths.redisOwn;
  return {
    name: unitNames[kind],
    description: isSentinel ? 'Sentinel of Plenum' : 'Redis of Plenum',
    service: [
      'Type=exec',
      'User=redis',
      'Group=redis',
      `ExecStart=/usr/bin/redis-server ${config}`,
      `StateDirectory=${folder}`,
      'StateDirectoryMode=0700',
      'TimeoutStopSec=30',
      'Restart=always',
      'RestartSec=2',
      'LimitNOFILE=65536',
      'CapabilityBoundingSet=',
      'MemoryDenyWriteExecute=yes',
      ...confinement,
    ],
  };
}

/** Which services a node has, in the order in which they start. */
export function nodeUnits(deployment: Deployment, hasSentinel: boolean): NodeFile[] {
  const units =
    deployment.role === 'master'
      ? [redis('redis'), ...(hasSentinel ? [redis('sentinel')] : []), plenum(deployment)]
      : [plenum(deployment)];
  return units.map(({ name, description, service }) => ({
    path: `/etc/systemd/system/${name}`,
    content: [
      '[Unit]',
      `Description=${description}`,
      'Wants=network-online.target',
      'After=network-online.target',
      'StartLimitIntervalSec=0',
      '',
      '[Service]',
      ...service,
      '',
      '[Install]',
      'WantedBy=multi-user.target',
      '',
    ].join('\n'),
    mode: 0o644,
    owner: 'root',
    restarts: [name],
  }));
}

/** Debian starts these when their package is installed; ours take their place. */
export const maskedUnits: Readonly<Record<Deployment['role'], readonly string[]>> = {
  master: ['redis-server.service', 'redis-sentinel.service'],
  media: ['coturn.service'],
};

export const neededPackages: Readonly<Record<Deployment['role'], readonly string[]>> = {
  master: ['redis-server'],
  media: ['coturn', 'libuv1'],
};
