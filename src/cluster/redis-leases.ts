import { z } from 'zod';
import type { RedisConnection } from './redis-connection.ts';
import { decodeReply, flag, integer, text } from './redis-replies.ts';
import { redisScripts } from './redis-scripts.ts';
import { untilSettled } from './store-settling.ts';
import type { Epoch, LeaseResult, Leases } from './store.ts';

const acquireReply = z.tuple([text, text, integer]);

export class RedisLeases implements Leases {
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  acquire(name: string, holder: string): Promise<LeaseResult> {
    return untilSettled(async () => {
      const reply = await this.#redis.grant(redisScripts.acquire, {
        keys: [this.#redis.keys.lease(name)],
        args: [holder],
      });
      const [kind, owner, number] = decodeReply(acquireReply, reply);
      switch (kind) {
        case 'settling':
          return { kind, waitMs: number };
        case 'held':
          return { kind, epoch: number };
        default:
          return { kind: 'taken', holder: owner, epoch: number };
      }
    });
  }

  async renew(name: string, holder: string, epoch: Epoch): Promise<boolean> {
    const call = { keys: [this.#redis.keys.lease(name)], args: [holder, String(epoch)] };
    return decodeReply(flag, await this.#redis.run(redisScripts.renewLease, call));
  }

  async release(name: string, holder: string, epoch: Epoch): Promise<void> {
    const call = { keys: [this.#redis.keys.lease(name)], args: [holder, String(epoch)] };
    await this.#redis.run(redisScripts.releaseLease, call);
  }
}
