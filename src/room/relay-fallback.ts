/**
 * Who is told to send media through TURN alone, because it failed otherwise. With ICE-lite a client has UDP and TCP
 * candidates in every description and falls back to TCP by itself; what is left to the server is the relay over TLS.
 */

/** A session whose media fails so early counts as one that never worked. */
const shortSessionMs = 90_000;
const failuresUntilRelay = 2;
/** As long as LiveKit remembers it. */
const memoryMs = 5 * 60_000;
const maxIdentities = 1000;

type Memory = { failures: number; relay: boolean; untilMs: number };

export class RelayFallback {
  readonly #memories = new Map<string, Memory>();

  needsRelay(identity: string, nowMs: number): boolean {
    return this.#at(identity, nowMs)?.relay === true;
  }

  /** The media of a session failed. @param livedMs since it connected; 0 = it never did */
  failed(identity: string, livedMs: number, nowMs: number): void {
    const memory = this.#at(identity, nowMs) ?? { failures: 0, relay: false, untilMs: 0 };
    if (memory.relay && livedMs < shortSessionMs) {
      // Nor does the relay work: everything may be tried again.
      this.#memories.delete(identity);
      return;
    }
    const failures = livedMs < shortSessionMs ? memory.failures + 1 : 0;
    this.#remember(identity, { failures, relay: memory.relay || failures >= failuresUntilRelay }, nowMs);
  }

  /** As a test scenario wants it. */
  choose(identity: string, relay: boolean, nowMs: number): void {
    this.#remember(identity, { failures: 0, relay }, nowMs);
  }

  #at(identity: string, nowMs: number): Memory | undefined {
    const memory = this.#memories.get(identity);
    return memory === undefined || memory.untilMs <= nowMs ? undefined : memory;
  }

  #remember(identity: string, memory: Omit<Memory, 'untilMs'>, nowMs: number): void {
    this.#memories.delete(identity);
    this.#memories.set(identity, { ...memory, untilMs: nowMs + memoryMs });
    const oldest = this.#memories.keys().next().value;
    if (this.#memories.size > maxIdentities && oldest !== undefined) {
      this.#memories.delete(oldest);
    }
  }
}
