import { z } from 'zod';
import type { RedisConnection } from './redis-connection.ts';
import { bytes, decodeReply, flag, integer } from './redis-replies.ts';
import { redisScripts } from './redis-scripts.ts';
import { checkSize } from './store-limits.ts';
import { maxRecordBytes, type Epoch, type SharedRecord, type SharedRecords, type Unsubscribe } from './store.ts';

const getReply = z.tuple([integer, bytes]).nullable();

export class RedisRecords implements SharedRecords {
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async get(name: string): Promise<SharedRecord | undefined> {
    const reply = await this.#redis.run(redisScripts.getRecord, { keys: [this.#redis.keys.record(name)] });
    const found = decodeReply(getReply, reply);
    return found === null ? undefined : { epoch: found[0], value: found[1] };
  }

  async set(name: string, { value, epoch, lifeMs }: SharedRecord & { lifeMs?: number }): Promise<boolean> {
    checkSize(`the record ${name}`, value, maxRecordBytes);
    const { keys } = this.#redis;
    const reply = await this.#redis.grant(redisScripts.setRecord, {
      keys: [keys.record(name)],
      args: [name, String(epoch), value, String(Math.round(lifeMs ?? 0)), keys.recordChanged],
    });
    return decodeReply(flag, reply);
  }

  async remove(name: string, epoch: Epoch): Promise<boolean> {
    const { keys } = this.#redis;
    const reply = await this.#redis.grant(redisScripts.removeRecord, {
      keys: [keys.record(name)],
      args: [name, String(epoch), keys.recordChanged],
    });
    return decodeReply(flag, reply);
  }

  onChange(listener: (name: string) => void): Unsubscribe {
    const { keys } = this.#redis;
    return this.#redis.subscribe(keys.recordChanged, (message) => listener(message.toString())).unsubscribe;
  }
}
