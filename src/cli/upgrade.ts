/** `plenum upgrade …`: brings the nodes of an Azure deployment to another release. Run on masters. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { redisOptions } from '../cluster/redis-config.ts';
import type { RedisStore } from '../cluster/redis-store.ts';
import { badRelease } from '../azure/errors.ts';
import type { MasterUpgradeOptions } from '../azure/upgrade-master.ts';
import { badConfig } from '../config/errors.ts';
import type { Config } from '../config/options.ts';
import { createLog } from '../observe/log.ts';
import type { CliOutput } from './terminal.ts';

type UpgradeOptions = { releaseUrl: string; sha256: string; config: string };
type MediaOptions = UpgradeOptions & { releaseVersion: string };

/** What is done to the machine that the command runs on. */
export type MasterMachine = Pick<MasterUpgradeOptions, 'readRelease' | 'writeRelease' | 'bootstrap' | 'restart'>;

const run = promisify(execFile);
const connectMs = 5_000;
const releaseFile = '/etc/plenum/release.env';

const thisMachine: MasterMachine = {
  readRelease: () => readFile(releaseFile, 'utf8'),
  writeRelease: (env) => writeFile(releaseFile, env),
  bootstrap: async () => void (await run('/usr/local/sbin/plenum-bootstrap')),
  restart: async () => void (await run('systemctl', ['restart', 'plenum.service'])),
};

/** @param readConfig reads the file of a node of the cluster */
export function upgradeCommand(
  readConfig: (file: string) => Config,
  out: CliOutput,
  machine: MasterMachine = thisMachine,
): Command {
  const upgrade = new Command('upgrade')
    .description('bring the nodes of an Azure deployment to another release')
    .addHelpText('after', about);
  const media = withRelease(upgrade.command('media').description('replace media nodes one by one, each emptied first'));
  media
    .requiredOption('--release-version <version>', 'version that the release states, as ./plenum release printed it')
    .action(async () => {
      await upgradeMedia(media.opts<MediaOptions>(), readConfig);
      out.write('The scale set makes new machines with that release. plenum capacity status shows how far it is.\n');
    });
  const master = withRelease(
    upgrade.command('master').description('change this master, and go back if it does not run'),
  );
  master.action(async () => {
    await upgradeThisMaster(master.opts<UpgradeOptions>(), readConfig, machine);
    out.write('This master runs the release. Go on with the next one.\n');
  });
  return upgrade;
}

const about = `
First the masters, one after the other, then the media nodes:
  sudo plenum upgrade master --release-url https://… --sha256 …
  sudo plenum upgrade media --release-url https://… --sha256 … --release-version 0.2.0
`;

function withRelease(command: Command): Command {
  return command
    .requiredOption('--release-url <url>', 'https address of the release')
    .requiredOption('--sha256 <hex>', 'its checksum')
    .option('--config <file>', 'configuration of this node', '/etc/plenum/plenum.yaml');
}

function checkRelease({ releaseUrl, sha256 }: UpgradeOptions): void {
  const problems = [
    ...(URL.parse(releaseUrl)?.protocol === 'https:' ? [] : ['--release-url must be an https address']),
    ...(/^[0-9a-f]{64}$/.test(sha256) ? [] : ['--sha256 must be 64 hex digits']),
  ];
  if (problems.length > 0) {
    throw badRelease(problems);
  }
}

async function upgradeMedia(options: MediaOptions, readConfig: (file: string) => Config): Promise<void> {
  checkRelease(options);
  const { azure } = readConfig(options.config);
  const [{ createComputeClient }, { setRelease }] = await Promise.all([
    import('../azure/compute-client.ts'),
    import('../azure/scale-set-release.ts'),
  ]);
  const name = { resourceGroup: azure.resource_group, scaleSet: azure.scale_set };
  const { releaseUrl: url, sha256, releaseVersion: version } = options;
  await setRelease(createComputeClient(azure), name, { url, sha256, version });
}

async function upgradeThisMaster(
  options: UpgradeOptions,
  readConfig: (file: string) => Config,
  machine: MasterMachine,
): Promise<void> {
  checkRelease(options);
  const { upgradeMaster } = await import('../azure/upgrade-master.ts');
  const config = readConfig(options.config);
  const log = createLog({ level: 'info', json: true });
  const store = await openStore(config);
  try {
    await store.ready(connectMs);
    await upgradeMaster({
      release: { url: options.releaseUrl, sha256: options.sha256 },
      // One run, not one machine: two at a time on the same master are no better than on two.
      holder: `${hostname()} (${randomUUID().slice(0, 8)})`,
      leases: store.leases,
      heartbeatMs: store.timings.heartbeatMs,
      ...machine,
      isHealthy: () => isHealthy(config),
      log,
    });
  } finally {
    await store.close();
  }
}

async function openStore(config: Config): Promise<RedisStore> {
  const options = redisOptions(config, { clientName: 'plenum-cli', log: createLog({ level: 'error', json: true }) });
  if (options === undefined) {
    throw badConfig(['`redis.address` or Sentinel is needed to reach the cluster']);
  }
  // Not at the start: every command and every server reads this file.
  const redis = await import('../cluster/redis-store.ts');
  return new redis.RedisStore(options);
}

async function isHealthy({ port, bind_addresses }: Config): Promise<boolean> {
  const url = `http://${bind_addresses[0] ?? '127.0.0.1'}:${port}/`;
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
  return response?.status === 200;
}
