/**
 * Brings one master to another release, under a lease so that no two are away at a time. What does not come up within
 * its time is taken back.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Leases } from '../cluster/store.ts';
import type { Logger } from '../observe/log.ts';
import { upgradeFailed, upgradeUnderWay } from './errors.ts';
import { releaseEnv } from './scale-set-release.ts';

export type MasterUpgradeOptions = {
  release: { url: string; sha256: string };
  /** Name of this master in the lease. */
  holder: string;
  leases: Leases;
  /** How often the lease has to be renewed. */
  heartbeatMs: number;
  readRelease: () => Promise<string>;
  writeRelease: (env: string) => Promise<void>;
  /** Fetches what the release file names, checks it, switches to it and sets the node up. */
  bootstrap: () => Promise<void>;
  restart: () => Promise<void>;
  isHealthy: () => Promise<boolean>;
  log: Logger;
  healthyWithinMs?: number;
};

const leaseName = 'upgrade-master';

/** @throws PlenumError `upgrade-under-way`, or `upgrade-failed` after the old release runs again */
export async function upgradeMaster(options: MasterUpgradeOptions): Promise<void> {
  const { leases, holder, heartbeatMs } = options;
  const lease = await leases.acquire(leaseName, holder);
  if (lease.kind === 'taken') {
    throw upgradeUnderWay(lease.holder);
  }
  const renewal = setInterval(() => {
    void leases.renew(leaseName, holder, lease.epoch).catch(() => undefined);
  }, heartbeatMs);
  try {
    await change(options);
  } finally {
    clearInterval(renewal);
    await leases.release(leaseName, holder, lease.epoch).catch(() => undefined);
  }
}

async function change(options: MasterUpgradeOptions): Promise<void> {
  const { release, readRelease, log } = options;
  const before = await readRelease();
  const wanted = releaseEnv(release);
  if (before === wanted && (await options.isHealthy())) {
    log.info({}, 'this master runs that release already');
    return;
  }
  try {
    await switchTo(options, wanted);
    log.info({ sha256: release.sha256 }, 'this master runs the new release');
  } catch (error) {
    log.error({ err: error }, 'the new release does not run; going back');
    await switchTo(options, before);
    throw upgradeFailed(error instanceof Error ? error.message : String(error), error);
  }
}

async function switchTo(options: MasterUpgradeOptions, env: string): Promise<void> {
  const { writeRelease, bootstrap, restart, isHealthy, healthyWithinMs = 60_000 } = options;
  await writeRelease(env);
  await bootstrap();
  await restart();
  const deadlineMs = performance.now() + healthyWithinMs;
  while (!(await isHealthy())) {
    if (performance.now() >= deadlineMs) {
      throw new Error(`its health check does not answer for ${Math.round(healthyWithinMs / 1_000)} s`);
    }
    await delay(Math.min(1_000, healthyWithinMs / 10));
  }
}
