import type { RedisConnection } from './redis-connection.ts';
import { checkSize } from './store-limits.ts';
import { maxBusMessageBytes, type ClusterBus, type Unsubscribe } from './store.ts';

export class RedisBus implements ClusterBus {
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async publish(topic: string, message: Uint8Array): Promise<void> {
    checkSize(`a message on ${topic}`, message, maxBusMessageBytes);
    await this.#redis.publish(this.#redis.keys.topic(topic), message);
  }

  async subscribe(topic: string, listener: (message: Uint8Array) => void): Promise<Unsubscribe> {
    const receive = (message: Buffer): void => listener(new Uint8Array(message));
    const { unsubscribe, subscribed } = this.#redis.subscribe(this.#redis.keys.topic(topic), receive);
    await subscribed;
    return unsubscribe;
  }
}
