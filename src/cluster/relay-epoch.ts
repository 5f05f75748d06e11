/** Refuses what superseded owners still say. */
export class EpochGuard {
  readonly #highest = new Map<string, number>();

  /** Records that are known here; whoever ends one calls `forget`. */
  get size(): number {
    return this.#highest.size;
  }

  /** The highest epoch seen for this record; undefined when none was. */
  current(key: string): number | undefined {
    return this.#highest.get(key);
  }

  /**
   * Whether a message may be acted on; a higher epoch than any before is remembered. One without an epoch speaks for no
   * record and is let through.
   * @param key the room or record that the message speaks for
   */
  admit(key: string, epoch: number | undefined): boolean {
    if (epoch === undefined) {
      return true;
    }
    const highest = this.#highest.get(key);
    if (highest !== undefined && epoch < highest) {
      return false;
    }
    if (epoch !== highest) {
      this.#highest.set(key, epoch);
    }
    return true;
  }

  /** The record is gone for good. A guard that forgets too early lets an old owner speak again. */
  forget(key: string): void {
    this.#highest.delete(key);
  }
}
