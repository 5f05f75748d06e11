/**
 * Brings a deployment from nothing to one set of secrets and one first Redis master, whichever of its masters comes
 * first, dies or comes back. All of them run this; one at a time does the work, each from whatever it finds.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observe/log.ts';
import type { MasterDeployment } from './deployment.ts';
import { markers, nodeSecrets, sharedSecrets, wantedSecrets } from './deployment-secrets.ts';
import { secretMissing } from './errors.ts';
import type { Agreement, FirstBootLock, HeldLock } from './first-boot-lock.ts';
import type { SecretVault } from './secret-vault.ts';

export type FirstBootOptions = {
  deployment: MasterDeployment;
  vault: SecretVault;
  nodesVault: SecretVault;
  lock: FirstBootLock;
  /** Private address of this master. */
  ownAddress: string;
  programVersion: string;
  /** Whether a Redis answers there with that password. */
  redisAnswers: (address: string, password: string) => Promise<boolean>;
  /** Starts this machine's Redis as the first master, and resolves when it answers. */
  startFirstRedis: (secrets: Map<string, string>) => Promise<void>;
  log: Logger;
  signal: AbortSignal;
  pauseMs?: number;
};

export type FirstBootResult = { agreement: Agreement; secrets: Map<string, string> };

/** Until then a secret that was made again by a mistake of timing counts for nothing. */
const settleMs = 15 * 60_000;

export async function firstBoot(options: FirstBootOptions): Promise<FirstBootResult> {
  const { vault, lock, log, signal, pauseMs = 5_000 } = options;
  for (;;) {
    const agreement = await lock.read(signal);
    if (agreement !== undefined && (await vault.get(markers.ready, signal)) !== undefined) {
      return { agreement, secrets: await readSecrets(vault, agreement, signal) };
    }
    const held = await lock.acquire(signal);
    if (held === undefined) {
      log.info({}, 'another master sets up the deployment');
      await delay(pauseMs, undefined, { signal });
      continue;
    }
    try {
      await setUp(options, held, AbortSignal.any([signal, held.lost]));
    } finally {
      await held.release();
    }
  }
}

async function setUp(options: FirstBootOptions, held: HeldLock, signal: AbortSignal): Promise<void> {
  const { vault, lock, log, ownAddress } = options;
  await makeMissing(options, held, signal);
  let agreement = await lock.read(signal);
  if (agreement === undefined) {
    agreement = { ...(await newAgreement(vault, signal)), redisMaster: ownAddress };
    await held.write(agreement, signal);
  }
  const secrets = await readSecrets(vault, agreement, signal);
  await copyForNodes(options, secrets, { held, signal });
  const password = secrets.get('REDIS-PASSWORD') ?? '';
  if (agreement.redisMaster !== ownAddress && !(await options.redisAnswers(agreement.redisMaster, password))) {
    // Whoever was to begin has died before its Redis answered anybody.
    agreement = { ...agreement, redisMaster: ownAddress };
    await held.write(agreement, signal);
  }
  if (agreement.redisMaster === ownAddress) {
    await options.startFirstRedis(secrets);
  }
  held.check();
  await vault.set(markers.ready, 'true', signal);
  log.info({ redisMaster: agreement.redisMaster }, 'the deployment is set up');
}

/** What is there stays: a deployment has its secrets once. */
async function makeMissing(options: FirstBootOptions, held: HeldLock, signal: AbortSignal): Promise<void> {
  const { deployment, vault, programVersion, log } = options;
  let made = 0;
  for (const { name, make } of wantedSecrets(deployment, programVersion)) {
    if ((await vault.get(name, signal)) === undefined) {
      held.check();
      await vault.set(name, make(), signal);
      made += 1;
    }
  }
  log.info({ made }, 'secrets of the deployment are there');
}

async function newAgreement(vault: SecretVault, signal: AbortSignal): Promise<Omit<Agreement, 'redisMaster'>> {
  const versions: Record<string, string> = {};
  for (const name of sharedSecrets) {
    const secret = await vault.get(name, signal);
    if (secret === undefined) {
      throw secretMissing(name);
    }
    versions[name] = secret.version;
  }
  return { versions, agreedAt: new Date().toISOString() };
}

/**
 * Media nodes read from a vault of their own. The marker comes last: a node that sees it finds everything else.
 * @param how without a lock, when nothing but what an operator changed can be new
 */
export async function copyForNodes(
  { vault, nodesVault }: Pick<FirstBootOptions, 'vault' | 'nodesVault'>,
  secrets: ReadonlyMap<string, string>,
  how: { held?: HeldLock; signal: AbortSignal },
): Promise<void> {
  const { held, signal } = how;
  for (const name of nodeSecrets) {
    const value = secrets.get(name) ?? (await vault.get(name, signal))?.value ?? '';
    if ((await nodesVault.get(name, signal))?.value !== value) {
      held?.check();
      await nodesVault.set(name, value, signal);
    }
  }
  for (const target of [nodesVault, vault]) {
    if ((await target.get(markers.allMade, signal)) === undefined) {
      held?.check();
      await target.set(markers.allMade, 'true', signal);
    }
  }
}

/** For media nodes: waits until the masters have put there what is needed to join. */
export async function awaitNodeSecrets(
  nodesVault: SecretVault,
  signal: AbortSignal,
  pauseMs = 5_000,
): Promise<Map<string, string>> {
  while ((await nodesVault.get(markers.allMade, signal)) === undefined) {
    await delay(pauseMs, undefined, { signal });
  }
  const secrets = new Map<string, string>();
  for (const name of nodeSecrets) {
    const secret = await nodesVault.get(name, signal);
    if (secret === undefined) {
      throw secretMissing(name);
    }
    secrets.set(name, secret.value);
  }
  return secrets;
}

/** The agreed versions; what an operator has changed since then counts instead. */
async function readSecrets(
  vault: SecretVault,
  { versions, agreedAt }: Agreement,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const secrets = new Map<string, string>();
  const changedAfter = Date.parse(agreedAt) + settleMs;
  for (const [name, version] of Object.entries(versions)) {
    const newest = await vault.get(name, signal);
    const isChanged = newest !== undefined && newest.version !== version && newest.madeAt.getTime() > changedAfter;
    const secret = isChanged ? newest : await vault.get(name, signal, version);
    if (secret === undefined) {
      throw secretMissing(name);
    }
    secrets.set(name, secret.value);
  }
  return secrets;
}
