/** Deadlines by name: a heap, so that a room of thousands asks for its next deadline at no cost. */

type Entry = { key: string; atMs: number };

export class Timers {
  readonly #at = new Map<string, number>();
  /** Binary heap by `atMs`; entries that `#at` no longer confirms are skipped when they surface. */
  #heap: Entry[] = [];

  get size(): number {
    return this.#at.size;
  }

  has(key: string): boolean {
    return this.#at.has(key);
  }

  /** The deadline of this name, if there is one. */
  at(key: string): number | undefined {
    return this.#at.get(key);
  }

  /** Replaces a deadline of the same name. */
  set(key: string, atMs: number): void {
    if (this.#at.get(key) === atMs) {
      return;
    }
    this.#at.set(key, atMs);
    this.#push({ key, atMs });
    if (this.#heap.length > 64 && this.#heap.length > this.#at.size * 4) {
      this.#rebuild();
    }
  }

  clear(key: string): void {
    this.#at.delete(key);
  }

  clearAll(): void {
    this.#at.clear();
    this.#heap = [];
  }

  /** The earliest deadline. */
  nextMs(): number | undefined {
    return this.#top()?.atMs;
  }

  /** Takes the earliest deadline that is due, if any. */
  takeDue(nowMs: number): string | undefined {
    const top = this.#top();
    if (top === undefined || top.atMs > nowMs) {
      return undefined;
    }
    this.#pop();
    this.#at.delete(top.key);
    return top.key;
  }

  #top(): Entry | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || this.#at.get(top.key) === top.atMs) {
        return top;
      }
      this.#pop();
    }
  }

  #rebuild(): void {
    this.#heap = [];
    for (const [key, atMs] of this.#at) {
      this.#push({ key, atMs });
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || parent.atMs <= entry.atMs) {
        break;
      }
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) {
      return;
    }
    let index = 0;
    for (;;) {
      let childIndex = index * 2 + 1;
      let child = heap[childIndex];
      const right = heap[childIndex + 1];
      if (child !== undefined && right !== undefined && right.atMs < child.atMs) {
        child = right;
        childIndex += 1;
      }
      if (child === undefined || child.atMs >= last.atMs) {
        break;
      }
      heap[index] = child;
      index = childIndex;
    }
    heap[index] = last;
  }
}
