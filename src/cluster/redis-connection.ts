/**
 * Keeps a session with the Redis that is the master now: reconnects for ever, finds the new master after a failover, and
 * knows since when Redis answers. No call waits longer than the command timeout.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observe/log.ts';
import { PlenumError } from '../lib/errors.ts';
import { redisKeys, type RedisKeys } from './redis-keys.ts';
import { redisScripts, type RedisScript } from './redis-scripts.ts';
import { RedisSentinel, type RedisCredentials, type RedisHost, type RedisMaster } from './redis-sentinel.ts';
import { RedisSession, type RedisReply } from './redis-session.ts';
import { RedisSubscriptions } from './redis-subscriptions.ts';
import type { RedisTls } from './redis-tls.ts';
import type { StoreHealth, StoreTimings, Unsubscribe } from './store.ts';
import { badRecord, storeAway, storeClosed, storeNotReplicated, storeOverloaded } from './store-errors.ts';
import { withTimeout } from './store-timeout.ts';

export type RedisConnectionOptions = RedisCredentials & {
  /** Used without Sentinel. */
  address: RedisHost;
  db: number;
  /** Undefined: in the clear. */
  tls: RedisTls | undefined;
  sentinel: (RedisCredentials & { masterName: string; addresses: RedisHost[] }) | undefined;
  /** Replicas that must know a grant before it counts. */
  minReplicas: number;
  clientName: string;
  keyPrefix: string;
  timings: StoreTimings;
  commandTimeoutMs: number;
  log: Logger;
};

type Call = { keys: string[]; args?: (string | Uint8Array)[] };
type OpenSession = { session: RedisSession; takesWrites: boolean };
type Waiter = { resolve: (session: RedisSession) => void; reject: (error: Error) => void };

/** Short enough that all nodes are back within the grace of one lease period after an outage. */
const backOffMs = { first: 25, most: 400 };
const maxWaiters = 10_000;
/** Records outlive an outage of this length with nobody there to renew them. */
const garbageMs = 3_600_000;

export class RedisConnection implements StoreHealth {
  readonly keys: RedisKeys;
  readonly #options: RedisConnectionOptions;
  readonly #sentinel: RedisSentinel | undefined;
  readonly #settings: string[];
  readonly #listeners = new Set<(change: 'lost' | 'back') => void>();
  readonly #subscriptions = new RedisSubscriptions();
  readonly #closed = new AbortController();
  #session: RedisSession | undefined;
  readonly #waiters = new Set<Waiter>();
  #awaySinceMs: number | undefined;
  #answeringSinceMs: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.keys = redisKeys(options.keyPrefix);
    const { heartbeatMs, leaseMs, keepMs } = options.timings;
    const blindMs = 2 * heartbeatMs;
    this.#settings = [leaseMs, keepMs, blindMs, blindMs, keepMs + garbageMs].map(String);
    this.#sentinel =
      options.sentinel &&
      new RedisSentinel({
        ...options.sentinel,
        tls: options.tls,
        timeoutMs: options.commandTimeoutMs,
        log: options.log,
      });
  }

  /** Starts to connect. */
  start(): void {
    this.#running ??= this.#keepConnected();
  }

  /** Resolves once Redis answers; for a start that should say what is wrong. */
  async ready(timeoutMs: number): Promise<void> {
    await this.#whenConnected(timeoutMs);
  }

  answeringSince(): number | undefined {
    return this.#answeringSinceMs;
  }

  onChange(listener: (change: 'lost' | 'back') => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Runs a script; rejects with a `store-errors.ts` error within the command timeout. */
  run(script: RedisScript, call: Call): Promise<RedisReply> {
    return this.#attempt((session) => session.run(script, ...this.#input(session, call)));
  }

  /** The same for grants, which must reach the replicas before they count. */
  grant(script: RedisScript, call: Call): Promise<RedisReply> {
    // Grants may queue up behind one that waits for a replica, so their timeouts alone do not condemn the session.
    return this.#attempt(
      (session) => session.grant(script, ...this.#input(session, call)),
      (session) => session.grantsHang(),
    );
  }

  publish(channel: string, message: Uint8Array): Promise<void> {
    return this.#attempt((session) => session.publish(channel, message));
  }

  /** `subscribed` resolves once messages arrive, at the latest after the command timeout. */
  subscribe(
    channel: string,
    listener: (message: Buffer) => void,
  ): { unsubscribe: Unsubscribe; subscribed: Promise<void> } {
    const { unsubscribe, subscribed } = this.#subscriptions.add(channel, listener);
    return {
      unsubscribe,
      subscribed: withTimeout(subscribed, this.#options.commandTimeoutMs, storeAway).catch(() => undefined),
    };
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#session?.end(storeClosed());
    this.#sentinel?.close();
    for (const waiter of this.#waiters) {
      waiter.reject(storeClosed());
    }
    this.#waiters.clear();
    await this.#running;
  }

  #input(session: RedisSession, call: Call): [string[], (string | Uint8Array)[]] {
    const settings = [session.runId, String(session.master.configEpoch), ...this.#settings];
    return [
      [this.keys.clock, ...call.keys],
      [...settings, ...(call.args ?? [])],
    ];
  }

  async #attempt<T>(
    action: (session: RedisSession) => Promise<T>,
    hangs: (session: RedisSession) => boolean = () => true,
  ): Promise<T> {
    const deadlineMs = performance.now() + this.#options.commandTimeoutMs;
    const session = this.#session ?? (await this.#whenConnected(this.#options.commandTimeoutMs));
    let timedOut = false;
    try {
      return await withTimeout(action(session), deadlineMs - performance.now(), () => {
        timedOut = true;
        return storeAway(new Error('no answer in time'));
      });
    } catch (error) {
      const { failure, endsSession } = classify(error);
      if (timedOut ? hangs(session) : endsSession) {
        session.end(error);
      }
      throw this.#closed.signal.aborted ? storeClosed() : failure;
    }
  }

  /** While Redis has been away for longer than a command may take, waiting for it is of no use. */
  async #whenConnected(timeoutMs: number): Promise<RedisSession> {
    if (this.#closed.signal.aborted) {
      throw storeClosed();
    }
    if (this.#session !== undefined) {
      return this.#session;
    }
    const awayMs = this.#awaySinceMs === undefined ? 0 : performance.now() - this.#awaySinceMs;
    if (awayMs > this.#options.commandTimeoutMs && timeoutMs <= this.#options.commandTimeoutMs) {
      throw storeAway();
    }
    if (this.#waiters.size >= maxWaiters) {
      throw storeOverloaded();
    }
    const { promise, resolve, reject } = Promise.withResolvers<RedisSession>();
    const waiter = { resolve, reject };
    this.#waiters.add(waiter);
    return withTimeout(promise, timeoutMs, storeAway).finally(() => this.#waiters.delete(waiter));
  }

  async #keepConnected(): Promise<void> {
    let waitMs = backOffMs.first;
    while (!this.#closed.signal.aborted) {
      this.#awaySinceMs ??= performance.now();
      try {
        const open = await this.#open();
        const openedMs = performance.now();
        await this.#live(open);
        if (performance.now() - openedMs > this.#options.commandTimeoutMs) {
          waitMs = backOffMs.first;
          continue;
        }
      } catch (error) {
        this.#options.log.debug({ err: error }, 'redis cannot be used');
      }
      await this.#pause(waitMs * (0.75 + Math.random() / 2));
      waitMs = Math.min(backOffMs.most, waitMs * 2);
    }
  }

  async #open(): Promise<OpenSession> {
    const master =
      this.#sentinel === undefined ? { ...this.#options.address, configEpoch: 0 } : await this.#sentinel.master();
    const session = await RedisSession.open(master, this.#options);
    try {
      const timeoutMs = this.#options.commandTimeoutMs;
      await withTimeout(this.#subscriptions.attach(session), timeoutMs, storeAway);
      // Tells Redis at once that somebody is there again; a master that is still loading refuses it.
      const touch = session.run(redisScripts.touch, ...this.#input(session, { keys: [] }));
      const takesWrites = await withTimeout(touch, timeoutMs, storeAway).then(
        () => true,
        (error: unknown) => {
          if (classify(error).endsSession) throw error;
          return false;
        },
      );
      return { session, takesWrites };
    } catch (error) {
      session.end(error);
      throw error;
    }
  }

  /** Uses a session until it ends. One that takes no writes can still be read from. */
  async #live({ session, takesWrites }: OpenSession): Promise<void> {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const stop = new AbortController();
    session.onEnd((error) => {
      if (!this.#closed.signal.aborted) {
        this.#lost(error);
      }
      stop.abort();
      end();
    });
    if (session.isEnded || this.#closed.signal.aborted) {
      session.end(storeClosed());
      return;
    }
    this.#session = session;
    this.#awaySinceMs = undefined;
    for (const waiter of this.#waiters) {
      waiter.resolve(session);
    }
    if (takesWrites) {
      this.#back(session);
    }
    await Promise.all([ended, this.#touch(session, stop.signal), this.#watchMaster(session, stop.signal)]);
  }

  /** Shows Redis that it is not away, and us that it takes writes. */
  async #touch(session: RedisSession, stop: AbortSignal): Promise<void> {
    for (;;) {
      await this.#pause(this.#options.timings.heartbeatMs, stop);
      if (stop.aborted) return;
      try {
        await this.run(redisScripts.touch, { keys: [] });
        if (!stop.aborted) this.#back(session);
      } catch (error) {
        if (!this.#closed.signal.aborted) this.#lost(error);
      }
    }
  }

  /** A master that was cut off does not know that it is not the master any more. */
  async #watchMaster(session: RedisSession, stop: AbortSignal): Promise<void> {
    while (this.#sentinel !== undefined) {
      await this.#pause(2 * this.#options.timings.heartbeatMs, stop);
      if (stop.aborted) return;
      const master = await this.#sentinel.master().catch(() => session.master);
      if (!isSameMaster(master, session.master) && master.configEpoch >= session.master.configEpoch) {
        session.end(new Error(`Sentinel names another master: ${master.host}:${master.port}`));
      }
    }
  }

  #lost(error: unknown): void {
    if (this.#session?.isEnded === true) {
      this.#session = undefined;
      this.#awaySinceMs = performance.now();
    }
    if (this.#answeringSinceMs === undefined) {
      return;
    }
    this.#answeringSinceMs = undefined;
    this.#options.log.warn({ err: error }, 'redis does not answer; running calls go on');
    this.#tell('lost');
  }

  #back(session: RedisSession): void {
    if (this.#answeringSinceMs !== undefined) {
      return;
    }
    this.#answeringSinceMs = performance.now();
    this.#options.log.info({ redis: session.master }, 'redis answers');
    this.#tell('back');
  }

  #tell(change: 'lost' | 'back'): void {
    for (const listener of this.#listeners) {
      listener(change);
    }
  }

  /** Ends early when stopped. */
  async #pause(ms: number, stop: AbortSignal = this.#closed.signal): Promise<void> {
    await delay(ms, undefined, { signal: stop }).catch(() => undefined);
  }
}

function isSameMaster(left: RedisMaster, right: RedisMaster): boolean {
  return left.host === right.host && left.port === right.port && left.configEpoch === right.configEpoch;
}

/** @returns what the caller is told, and whether the session is of no use any more. */
function classify(error: unknown): { failure: PlenumError; endsSession: boolean } {
  if (error instanceof PlenumError) {
    return { failure: error, endsSession: false };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (/^(NOREPLICAS|NOGOODSLAVE)/.test(message)) {
    return { failure: storeNotReplicated(error), endsSession: false };
  }
  if (/queue is full/i.test(message)) {
    return { failure: storeOverloaded(), endsSession: false };
  }
  // Out of memory or a failing disk: it answers, and takes nothing.
  if (/^(OOM|MISCONF|BUSY)/.test(message)) {
    return { failure: storeAway(error), endsSession: false };
  }
  if (/^(ERR|WRONGTYPE|NOPERM)/.test(message)) {
    return { failure: badRecord('what a script needs', error), endsSession: false };
  }
  return { failure: storeAway(error), endsSession: true };
}
