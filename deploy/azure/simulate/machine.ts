/** A machine of the simulation: a folder for its files, cloud-init, and a small supervisor in the place of systemd. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { WantedServices } from '../../../src/azure/listed-services.ts';
import { movedBelow } from '../../../src/azure/node-disk.ts';
import type { Json } from '../expand/functions.ts';
import { FakeMetadata } from '../fakes/metadata-server.ts';
import { readUnit } from './unit-file.ts';

export type MachineOptions = {
  name: string;
  computerName: string;
  folder: string;
  cloudConfig: Record<string, Json>;
  privateAddress: string;
  publicAddress: string;
  zone: string;
  tenantId: string;
  /** Where its metadata service is. */
  host: string;
  /** Where the release is unpacked once for all machines. */
  releases: string;
  /** What a real machine has and the simulation does otherwise. */
  adjust: (deployment: Record<string, Json>, metadataUrl: string) => Record<string, Json>;
  env: NodeJS.ProcessEnv;
  /** Runs a program of the machine, e.g. inside its network namespace. */
  wrap: (command: string[]) => string[];
};

type Running = { child: ChildProcess; generation: number };

const lookMs = 200;
const retryMs = 2_000;

export class Machine {
  readonly name: string;
  readonly computerName: string;
  readonly privateAddress: string;
  readonly metadata: FakeMetadata;
  readonly #options: MachineOptions;
  #stop = new AbortController();
  readonly #running = new Map<string, Running>();
  #work: Promise<void> | undefined;
  #bootstrapping: ChildProcess | undefined;
  /** Output of `plenum node init`, of each time that it ran. */
  readonly initOutputs: string[] = [];

  static async start(options: MachineOptions): Promise<Machine> {
    const { name, computerName, publicAddress, privateAddress, tenantId, zone, host } = options;
    const facts = { machineName: name, computerName, publicAddress, privateAddress, tenantId, zone, host };
    const machine = new Machine(options, await FakeMetadata.start(facts));
    await machine.#writeFiles();
    machine.#work = machine.#live();
    return machine;
  }

  private constructor(options: MachineOptions, metadata: FakeMetadata) {
    this.#options = options;
    this.metadata = metadata;
    this.name = options.name;
    this.computerName = options.computerName;
    this.privateAddress = options.privateAddress;
  }

  get folder(): string {
    return this.#options.folder;
  }

  get logFile(): string {
    return path.join(this.folder, 'machine.log');
  }

  /** Of its programs: among others where the metadata service is. */
  get env(): NodeJS.ProcessEnv {
    return { ...this.#options.env, AZURE_POD_IDENTITY_AUTHORITY_HOST: this.metadata.url };
  }

  get services(): string[] {
    return [...this.#running.keys()];
  }

  /** Once per machine, as at its next boot. @returns the files that it changed */
  async initAgain(): Promise<string> {
    await this.#bootstrap();
    return this.initOutputs.at(-1) ?? '';
  }

  /** The power is cut, for good. */
  async cut(): Promise<void> {
    await this.powerOff();
    await this.metadata.close();
  }

  /** The power is cut. What is on its disk stays. */
  async powerOff(): Promise<void> {
    this.#stop.abort();
    const children = [...this.#running.values()].map(({ child }) => child);
    for (const child of [...children, this.#bootstrapping]) {
      end(child, 'SIGKILL');
    }
    await this.#work?.catch(() => undefined);
    this.#running.clear();
  }

  powerOn(): void {
    this.#stop = new AbortController();
    this.#work = this.#live();
  }

  /** Services are asked to stop, as at a shutdown, and get a while for it. */
  async shutDown(patienceMs = 15_000): Promise<void> {
    this.#stop.abort();
    const children = [...this.#running.values()].map(({ child }) => child);
    // A media node would wait for its calls; the platform does not.
    children.forEach((child) => end(child, 'SIGINT'));
    await Promise.race([Promise.all(children.map(ended)), delay(patienceMs)]);
    await this.cut();
  }

  async #writeFiles(): Promise<void> {
    const { cloudConfig, adjust, releases, folder } = this.#options;
    for (const file of cloudConfig['write_files'] as { path: string; permissions: string; content: string }[]) {
      const target = path.join(folder, file.path);
      await mkdir(path.dirname(target), { recursive: true });
      const content = file.path.endsWith('/deployment.json')
        ? JSON.stringify(adjust(JSON.parse(file.content) as Record<string, Json>, this.metadata.url))
        : this.#adjusted(file.content);
      await writeFile(target, content);
      await chmod(target, Number.parseInt(file.permissions, 8));
    }
    await mkdir(path.join(folder, 'opt/plenum'), { recursive: true });
    await symlink(releases, path.join(folder, 'opt/plenum/releases'));
  }

  #adjusted(content: string): string {
    const { folder } = this.#options;
    const flags = `--root ${folder} --deployment ${folder}/etc/plenum/deployment.json --services ${folder}/services.json`;
    return movedBelow(folder, content).replace('plenum" node init', `plenum" node init ${flags}`);
  }

  async #live(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted && !(await this.#bootstrap())) {
      await delay(retryMs, undefined, { signal }).catch(() => undefined);
    }
    while (!signal.aborted) {
      await this.#followServices();
      await delay(lookMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** @returns whether the first boot has come to its end. Services run meanwhile, as with systemd. */
  async #bootstrap(): Promise<boolean> {
    const script = path.join(this.folder, 'usr/local/sbin/plenum-bootstrap');
    const child = this.#spawn('bootstrap', [script]);
    this.#bootstrapping = child;
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const done = ended(child);
    let hasEnded = false;
    void done.then(() => {
      hasEnded = true;
    });
    while (!hasEnded) {
      await this.#followServices();
      await Promise.race([done, delay(lookMs)]);
    }
    this.initOutputs.push(output);
    return child.exitCode === 0;
  }

  async #followServices(): Promise<void> {
    if (this.#stop.signal.aborted) {
      return;
    }
    const text = await readFile(path.join(this.folder, 'services.json'), 'utf8').catch(() => '{}');
    for (const [unit, generation] of Object.entries(JSON.parse(text) as WantedServices)) {
      const running = this.#running.get(unit);
      if (running === undefined) {
        await this.#startUnit(unit, generation);
      } else if (running.generation !== generation) {
        running.generation = generation;
        end(running.child, 'SIGTERM');
      }
    }
  }

  async #startUnit(unit: string, generation: number): Promise<void> {
    const text = await readFile(path.join(this.folder, 'etc/systemd/system', unit), 'utf8');
    const { execStart, restarts, restartMs, stateFolders } = readUnit(text);
    for (const name of stateFolders) {
      await mkdir(path.join(this.folder, 'var/lib', name), { recursive: true });
    }
    const child = this.#spawn(unit, execStart);
    this.#running.set(unit, { child, generation });
    void ended(child).then(async () => {
      await delay(restartMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      if (restarts) {
        this.#running.delete(unit);
      }
    });
  }

  #spawn(label: string, command: string[]): ChildProcess {
    // Whatever becomes of the simulation, its programs end with it.
    const args = ['--pdeathsig', 'KILL', ...this.#options.wrap(command)];
    const child = spawn('setpriv', args, { env: this.env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const log = createWriteStream(this.logFile, { flags: 'a' });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => log.write(`${label}: ${chunk.toString()}`));
    }
    child.on('error', (error) => log.write(`${label}: ${error.message}\n`));
    child.on('close', () => log.end());
    return child;
  }
}

function end(child: ChildProcess | undefined, signal: NodeJS.Signals): void {
  if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) {
    // Its whole group, which it leads: a wrapper, the program, its workers.
    try {
      process.kill(signal === 'SIGKILL' ? -child.pid : child.pid, signal);
    } catch {
      // It has just ended by itself.
    }
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    await Promise.race([once(child, 'exit'), once(child, 'error')]).catch(() => undefined);
  }
}
