/** The load: light clients of one endpoint process, and what they receive. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LightClient, type LightClientOptions } from '../test/kit/light-client.ts';
import { LightEndpoint } from '../test/kit/light/light-endpoint.ts';
import type { FakeVideo, Trace } from '../test/kit/light/light-publisher.ts';
import { joinToken } from '../test/kit/tokens.ts';
import type { Target } from './target.ts';

type RecordedLayer = { width: number; height: number; fps: number; bitrateBps: number; frameBytes: number[] };

/** 32 kbit/s of Opus, in packets of 124 bytes on the wire. */
export const opus = { payloadBytes: 80, levelDbov: 25 };

export type JoinOptions = Partial<LightClientOptions> & { canUpdateMetadata?: boolean };

export class Crowd {
  readonly endpoint: LightEndpoint;
  readonly clients: LightClient[] = [];
  readonly #target: Target;
  readonly #layers: readonly RecordedLayer[];
  readonly #traces: Trace[];

  static async start(target: Target, srtpProfiles?: string[]): Promise<Crowd> {
    const endpoint = await LightEndpoint.start(srtpProfiles === undefined ? {} : { srtpProfiles });
    const file = path.join(import.meta.dirname, 'traces/camera.json');
    const { layers } = JSON.parse(readFileSync(file, 'utf8')) as { layers: RecordedLayer[] };
    return new Crowd(target, endpoint, layers);
  }

  private constructor(target: Target, endpoint: LightEndpoint, layers: readonly RecordedLayer[]) {
    this.#target = target;
    this.endpoint = endpoint;
    this.#layers = layers;
    this.#traces = layers.map(({ fps, frameBytes }) => ({ number: endpoint.addTrace(frameBytes), fps }));
  }

  /** A camera as recorded; every call begins at another frame of the trace, so that key moments do not coincide. */
  camera(layers: 'all' | 'top' | 'lowest'): FakeVideo {
    const index = layers === 'lowest' ? 0 : this.#layers.length - 1;
    const { width = 0, height = 0, fps = 0, bitrateBps = 0 } = this.#layers[index] ?? {};
    const traces = layers === 'all' ? this.#traces : this.#traces.slice(index, index + 1);
    return { simulcast: layers === 'all', width, height, fps, bitrateBps, traces, traceFrom: this.clients.length * 37 };
  }

  /** One client as real ones are: repairs losses, answers everything. */
  async join(room: string, identity: string, options: JoinOptions = {}): Promise<LightClient> {
    const { canUpdateMetadata = false, ...rest } = options;
    const token = await joinToken({
      room,
      identity,
      key: this.#target.key,
      grants: { canUpdateOwnMetadata: canUpdateMetadata },
    });
    const client = await LightClient.join({
      url: this.#target.url,
      token,
      endpoint: this.endpoint,
      crowd: true,
      countData: true,
      nack: true,
      timeoutMs: 30_000,
      ...rest,
    });
    this.clients.push(client);
    return client;
  }

  /** Joins at a steady rate, whether the server follows or not. */
  async joinMany<T>(count: number, perSecond: number, join: (index: number) => Promise<T>): Promise<T[]> {
    const startMs = performance.now();
    const joins: Promise<T>[] = [];
    for (let index = 0; index < count; index += 1) {
      const dueMs = startMs + (index * 1000) / perSecond;
      await delay(Math.max(0, dueMs - performance.now()));
      joins.push(join(index));
      // Its failure is told by the `all` below.
      joins.at(-1)?.catch(() => {});
    }
    return Promise.all(joins);
  }

  async leave(client: LightClient): Promise<void> {
    const index = this.clients.indexOf(client);
    if (index >= 0) {
      this.clients.splice(index, 1);
    }
    await client.leave();
  }

  async leaveAll(): Promise<void> {
    await Promise.all(this.clients.splice(0).map(async (client) => client.leave()));
  }

  async close(): Promise<void> {
    await this.leaveAll().catch(() => {});
    await this.endpoint.close();
  }
}
