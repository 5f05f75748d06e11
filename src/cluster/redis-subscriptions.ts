/** Who listens on which channel, across sessions. */
import type { RedisSession } from './redis-session.ts';
import type { Unsubscribe } from './store.ts';

export class RedisSubscriptions {
  readonly #channels = new Map<string, Set<(message: Buffer) => void>>();
  #session: RedisSession | undefined;

  /** One function for all channels and sessions, because the client library tells subscriptions apart by it. */
  readonly #dispatch = (message: Buffer, channel: Buffer): void => {
    for (const listener of this.#channels.get(channel.toString()) ?? []) {
      listener(message);
    }
  };

  /** Subscribes to everything on a new session. */
  async attach(session: RedisSession): Promise<void> {
    this.#session = session;
    await Promise.all([...this.#channels.keys()].map((channel) => session.subscribe(channel, this.#dispatch)));
  }

  /** `subscribed` settles once messages arrive, or when there is no session: then the next one subscribes. */
  add(channel: string, listener: (message: Buffer) => void): { unsubscribe: Unsubscribe; subscribed: Promise<void> } {
    // A function of its own, so that a listener that is added twice is called twice and removed once.
    const own = (message: Buffer): void => listener(message);
    const listeners = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, listeners);
    listeners.add(own);
    return { unsubscribe: () => this.#remove(channel, own), subscribed: this.#subscribe(channel) };
  }

  #remove(channel: string, own: (message: Buffer) => void): void {
    const listeners = this.#channels.get(channel);
    if (listeners?.delete(own) !== true || listeners.size > 0) {
      return;
    }
    this.#channels.delete(channel);
    const session = this.#session;
    session?.unsubscribe(channel, this.#dispatch).catch((error: unknown) => session.end(error));
  }

  async #subscribe(channel: string): Promise<void> {
    const session = this.#session;
    if (session === undefined || session.isEnded) {
      return;
    }
    try {
      await session.subscribe(channel, this.#dispatch);
    } catch (error) {
      session.end(error);
    }
  }
}
