/**
 * Makes a machine of a deployment a node of the cluster, from whatever state it is in. Run at every boot, it changes
 * nothing on a node that is as it should be.
 */
import { networkInterfaces } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { TokenCredential } from '@azure/identity';
import { ContainerClient } from '@azure/storage-blob';
import type { Logger } from '../observe/log.ts';
import type { Deployment, MasterDeployment } from './deployment.ts';
import { secretNames } from './deployment-secrets.ts';
import { notAMaster, redisDoesNotStart, secretMissing } from './errors.ts';
import { awaitNodeSecrets, copyForNodes, firstBoot } from './first-boot.ts';
import { FirstBootLock } from './first-boot-lock.ts';
import { InstanceMetadata } from './instance-metadata.ts';
import type { NodeDisk } from './node-disk.ts';
import {
  nodeFiles,
  paths,
  redisOwn,
  runsSentinel,
  sentinelOwn,
  unitNames,
  type NodeFacts,
  type NodeFile,
  type NodeSecrets,
} from './node-files.ts';
import { maskedUnits, neededPackages, nodeUnits } from './node-units.ts';
import { portOf } from './port-table.ts';
import { masterNamedBy, redisAnswers } from './redis-probe.ts';
import { SecretVault } from './secret-vault.ts';
import type { ServiceManager } from './service-manager.ts';

export type NodeInitOptions = {
  deployment: Deployment;
  credential: TokenCredential;
  services: ServiceManager;
  disk: NodeDisk;
  programVersion: string;
  log: Logger;
  signal: AbortSignal;
  /** Between two looks at what others have to do first. */
  pauseMs?: number;
};

const redisStartMs = 60_000;

/** @returns the files that were changed */
export async function initNode(options: NodeInitOptions): Promise<string[]> {
  return new NodeInit(options).run();
}

class NodeInit {
  readonly #options: NodeInitOptions;
  readonly #changed: NodeFile[] = [];
  readonly #started = new Set<string>();

  constructor(options: NodeInitOptions) {
    this.#options = options;
  }

  async run(): Promise<string[]> {
    const { deployment, services, log } = this.#options;
    await services.mask(maskedUnits[deployment.role]);
    await services.install(neededPackages[deployment.role]);
    await services.addUser('plenum');
    const facts = await this.#facts();
    log.info({ role: deployment.role, address: facts.privateAddress, zone: facts.zone }, 'setting up this node');
    if (deployment.role === 'master') {
      await this.#master(deployment, facts);
    } else {
      const secrets = await awaitNodeSecrets(
        this.#vault(deployment.nodesVaultUrl),
        this.#options.signal,
        this.#options.pauseMs,
      );
      await this.#finish(facts, secrets);
    }
    log.info({ changed: this.#changed.length }, 'this node is set up');
    return this.#changed.map(({ path }) => path);
  }

  async #facts(): Promise<NodeFacts> {
    const { deployment, signal } = this.#options;
    const metadata = new InstanceMetadata(deployment.metadataUrl);
    const machine = await this.#patiently(() =>
      metadata.machine(AbortSignal.any([signal, AbortSignal.timeout(5_000)])),
    );
    const common = { zone: machine.zone, machineName: machine.name, computerName: machine.computerName };
    if (deployment.role === 'master') {
      return { ...common, privateAddress: this.#masterAddress(deployment, machine.privateAddress), publicAddress: '' };
    }
    const publicAddress = await this.#patiently(() =>
      metadata.publicAddress(AbortSignal.any([signal, AbortSignal.timeout(5_000)])),
    );
    return { ...common, privateAddress: machine.privateAddress, publicAddress };
  }

  /** Which of the masters this machine is, by what its network cards say. */
  #masterAddress({ masters, simulated }: MasterDeployment, told: string): string {
    const own = Object.values(networkInterfaces()).flatMap((cards) => (cards ?? []).map(({ address }) => address));
    const found = simulated !== undefined ? told : masters.find((address) => own.includes(address));
    if (found === undefined || !masters.includes(found)) {
      throw notAMaster(own, masters);
    }
    return found;
  }

  /** The metadata service may not be there in the first moments of a machine, and has short outages. */
  async #patiently<Result>(ask: () => Promise<Result>): Promise<Result> {
    const { signal, log, pauseMs = 5_000 } = this.#options;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ err: error }, 'the metadata service does not answer yet');
        await delay(pauseMs, undefined, { signal });
      }
    }
  }

  #vault(url: string): SecretVault {
    const { credential, deployment, pauseMs } = this.#options;
    return new SecretVault({
      url,
      credential,
      isSimulated: deployment.simulated !== undefined,
      ...(pauseMs === undefined ? {} : { pauseMs }),
    });
  }

  async #master(deployment: MasterDeployment, facts: NodeFacts): Promise<void> {
    const { credential, programVersion, log, signal, pauseMs } = this.#options;
    const vault = this.#vault(deployment.vaultUrl);
    const nodesVault = this.#vault(deployment.nodesVaultUrl);
    const { blobUrl, stateContainer } = deployment.storage;
    const lock = new FirstBootLock(new ContainerClient(`${blobUrl}${stateContainer}`, credential));
    const { agreement, secrets } = await firstBoot({
      deployment,
      vault,
      nodesVault,
      lock,
      ownAddress: facts.privateAddress,
      programVersion,
      redisAnswers: (address, password) => redisAnswers(address, portOf('masters', 'Redis').first, password),
      startFirstRedis: (made) => this.#startFirstRedis(facts, made),
      log,
      signal,
      ...(pauseMs === undefined ? {} : { pauseMs }),
    });
    await copyForNodes({ vault, nodesVault }, secrets, { signal });
    if (deployment.certificate.type === 'owncert') {
      await this.#readCertificate(vault, secrets);
    }
    await this.#finish(facts, secrets, await this.#redisMaster(deployment, agreement.redisMaster, secrets));
  }

  async #readCertificate(vault: SecretVault, secrets: Map<string, string>): Promise<void> {
    for (const name of [secretNames.publicCertificate, secretNames.privateCertificate]) {
      const secret = await vault.get(name, this.#options.signal);
      if (secret === undefined) {
        throw secretMissing(name);
      }
      secrets.set(name, secret.value);
    }
  }

  /** Who it is now, when there has been a failover since the first boot. */
  async #redisMaster({ masters }: MasterDeployment, agreed: string, secrets: NodeSecrets): Promise<string> {
    const password = secrets.get(secretNames.redisPassword) ?? '';
    for (const address of masters) {
      const named = await masterNamedBy(address, portOf('masters', 'Sentinel').first, password);
      if (named !== undefined) {
        return named;
      }
    }
    return agreed;
  }

  async #startFirstRedis(facts: NodeFacts, secrets: Map<string, string>): Promise<void> {
    const { deployment, signal, pauseMs = 5_000 } = this.#options;
    const [base] = nodeFiles(deployment, facts, secrets).filter(({ path }) => path === paths.redisBase);
    const [unit] = nodeUnits(deployment, false);
    await this.#redisFiles([base, unit, redisOwn(undefined)]);
    await this.#startUnits([unitNames.redis]);
    const password = secrets.get(secretNames.redisPassword) ?? '';
    const deadlineMs = performance.now() + redisStartMs;
    while (!(await redisAnswers(facts.privateAddress, portOf('masters', 'Redis').first, password))) {
      if (performance.now() >= deadlineMs) {
        throw redisDoesNotStart(facts.privateAddress, redisStartMs);
      }
      await delay(Math.min(pauseMs, 1_000), undefined, { signal });
    }
  }

  async #redisFiles(files: (NodeFile | undefined)[]): Promise<void> {
    const { disk } = this.#options;
    await disk.makeFolder('/var/lib/plenum-redis', 'redis');
    await disk.makeFolder('/var/lib/plenum-sentinel', 'redis');
    await this.#write(files.filter((file) => file !== undefined));
  }

  /** @param redisMaster on masters */
  async #finish(facts: NodeFacts, secrets: NodeSecrets, redisMaster?: string): Promise<void> {
    const { deployment, services, disk } = this.#options;
    const hasSentinel = redisMaster !== undefined && runsSentinel(deployment, facts);
    if (redisMaster !== undefined) {
      await this.#redisFiles([
        redisOwn(redisMaster === facts.privateAddress ? undefined : redisMaster),
        hasSentinel ? sentinelOwn(facts, redisMaster, secrets) : undefined,
      ]);
    }
    const files = nodeFiles(deployment, facts, secrets);
    await this.#write(files);
    if (this.#hasChanged(paths.sysctl)) {
      await services.applySysctl(disk.at(paths.sysctl));
    }
    const units = nodeUnits(deployment, hasSentinel);
    await this.#write(units);
    await this.#startUnits(units.map(({ path }) => path.split('/').at(-1) ?? ''));
  }

  async #write(files: readonly NodeFile[]): Promise<void> {
    for (const file of files) {
      if (await this.#options.disk.write(file)) {
        this.#changed.push(file);
      }
    }
  }

  #hasChanged(path: string): boolean {
    return this.#changed.some((file) => file.path === path);
  }

  /** Those that ran with files that have changed start again, the others go on. */
  async #startUnits(units: readonly string[]): Promise<void> {
    const { services } = this.#options;
    if (this.#changed.some(({ path }) => path.startsWith('/etc/systemd/'))) {
      await services.reload();
    }
    for (const unit of units) {
      const isOld = !this.#started.has(unit) && this.#changed.some(({ restarts }) => restarts?.includes(unit) === true);
      if (isOld && (await services.isRunning(unit))) {
        await services.restart(unit);
      } else {
        await services.start(unit);
      }
      this.#started.add(unit);
    }
  }
}
