/** The services and packages of a machine. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { commandFailed } from './errors.ts';

export interface ServiceManager {
  /** Keeps units from being started by whoever installs them. */
  mask(units: readonly string[]): Promise<void>;
  /** Makes sure that the packages are there. */
  install(packages: readonly string[]): Promise<void>;
  /** A user that services run as. */
  addUser(name: string): Promise<void>;
  /** Unit files have changed. */
  reload(): Promise<void>;
  isRunning(unit: string): Promise<boolean>;
  /** Starts a unit now and at every boot; one that runs goes on. */
  start(unit: string): Promise<void>;
  /** Asks for it and does not wait: a media node may take as long as its calls to stop. */
  restart(unit: string): Promise<void>;
  applySysctl(file: string): Promise<void>;
}

const run = promisify(execFile);
const installDeadlineMs = 10 * 60_000;

/** systemd and apt. */
export class SystemServices implements ServiceManager {
  async mask(units: readonly string[]): Promise<void> {
    await this.#run('systemctl', ['mask', ...units]);
  }

  async install(packages: readonly string[]): Promise<void> {
    if (await this.#areInstalled(packages)) {
      return;
    }
    await this.#run('apt-get', ['update', '-qq']);
    await this.#run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages]);
  }

  async addUser(name: string): Promise<void> {
    const flags = ['--system', '--group', '--no-create-home', '--home', '/nonexistent'];
    await this.#run('adduser', [...flags, '--quiet', name]);
  }

  async reload(): Promise<void> {
    await this.#run('systemctl', ['daemon-reload']);
  }

  async isRunning(unit: string): Promise<boolean> {
    return run('systemctl', ['is-active', '--quiet', unit]).then(
      () => true,
      () => false,
    );
  }

  async start(unit: string): Promise<void> {
    await this.#run('systemctl', ['enable', '--now', unit]);
  }

  async restart(unit: string): Promise<void> {
    await this.#run('systemctl', ['restart', '--no-block', unit]);
  }

  async applySysctl(file: string): Promise<void> {
    await this.#run('sysctl', ['--quiet', '--load', file]);
  }

  async #areInstalled(packages: readonly string[]): Promise<boolean> {
    try {
      const { stdout } = await run('dpkg-query', ['-W', '-f', '${db:Status-Status}\n', ...packages]);
      return stdout
        .trim()
        .split('\n')
        .every((status) => status === 'installed');
    } catch {
      // It fails when it does not know one of them.
      return false;
    }
  }

  async #run(program: string, args: readonly string[]): Promise<void> {
    try {
      const env = {
        DEBIAN_FRONTEND: 'noninteractive',
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      };
      await run(program, [...args], { env, timeout: installDeadlineMs });
    } catch (error) {
      throw commandFailed([program, ...args].join(' '), error);
    }
  }
}
