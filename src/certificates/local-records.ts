/** Shared records of a node that is alone: in memory, and as files so that they outlive it. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { SharedRecord, SharedRecords, Unsubscribe } from '../cluster/store.ts';

/**
 * There is one writer, so epochs are not compared: those of an earlier process mean nothing. What has a limited life is
 * kept in memory only.
 */
export class LocalRecords implements SharedRecords {
  readonly #folder: string;
  readonly #passing = new Map<string, { record: SharedRecord; endsMs: number }>();
  readonly #listeners = new Set<(name: string) => void>();

  /** @param folder is made, readable for its owner only */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async get(name: string): Promise<SharedRecord | undefined> {
    const passing = this.#passing.get(name);
    if (passing !== undefined) {
      return passing.endsMs > performance.now() ? passing.record : undefined;
    }
    try {
      return { value: new Uint8Array(await readFile(this.#file(name))), epoch: 0 };
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
        return undefined;
      }
      throw error;
    }
  }

  async set(name: string, { value, epoch, lifeMs }: SharedRecord & { lifeMs?: number }): Promise<boolean> {
    if (lifeMs === undefined) {
      await this.#write(name, value);
    } else {
      this.#forgetExpired();
      this.#passing.set(name, { record: { value, epoch }, endsMs: performance.now() + lifeMs });
    }
    this.#tell(name);
    return true;
  }

  async remove(name: string): Promise<boolean> {
    this.#passing.delete(name);
    await rm(this.#file(name), { force: true });
    this.#tell(name);
    return true;
  }

  onChange(listener: (name: string) => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whole or not at all: a power cut must not leave half a key. */
  async #write(name: string, value: Uint8Array): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const file = this.#file(name);
    await writeFile(`${file}.new`, value, { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
  }

  #file(name: string): string {
    const readable = name.replaceAll(/[^a-z-]+/g, '-').slice(0, 40);
    return path.join(this.#folder, `${readable}-${createHash('sha256').update(name).digest('hex').slice(0, 12)}`);
  }

  #forgetExpired(): void {
    for (const [name, { endsMs }] of this.#passing) {
      if (endsMs <= performance.now()) {
        this.#passing.delete(name);
      }
    }
  }

  #tell(name: string): void {
    for (const listener of this.#listeners) {
      listener(name);
    }
  }
}
