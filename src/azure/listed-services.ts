import { readFile, rename, writeFile } from 'node:fs/promises';
import type { ServiceManager } from './service-manager.ts';

/** What a service should do: run, with a number that grows with each restart. */
export type WantedServices = Record<string, number>;

/** Writes down what is wanted of services, for a supervisor that is not systemd. Packages are that one's business too. */
export class ListedServices implements ServiceManager {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  async mask(): Promise<void> {}
  async install(): Promise<void> {}
  async addUser(): Promise<void> {}
  async reload(): Promise<void> {}
  async applySysctl(): Promise<void> {}

  async isRunning(unit: string): Promise<boolean> {
    return (await this.#read())[unit] !== undefined;
  }

  async start(unit: string): Promise<void> {
    const wanted = await this.#read();
    await this.#write({ ...wanted, [unit]: wanted[unit] ?? 1 });
  }

  async restart(unit: string): Promise<void> {
    const wanted = await this.#read();
    await this.#write({ ...wanted, [unit]: (wanted[unit] ?? 0) + 1 });
  }

  async #read(): Promise<WantedServices> {
    const text = await readFile(this.#file, 'utf8').catch(() => '{}');
    return JSON.parse(text) as WantedServices;
  }

  /** Whoever reads it must never see half of it. */
  async #write(wanted: WantedServices): Promise<void> {
    await writeFile(`${this.#file}.new`, JSON.stringify(wanted));
    await rename(`${this.#file}.new`, this.#file);
  }
}
