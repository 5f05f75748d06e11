/** People of a simulation: light clients in small rooms that come back when they are told to. */
import { LeaveRequest_Action } from '@livekit/protocol';
import { setTimeout as delay } from 'node:timers/promises';
import { LightClient } from '../../../test/kit/light-client.ts';
import type { LightEndpoint } from '../../../test/kit/light/light-endpoint.ts';
import { joinToken } from '../../../test/kit/tokens.ts';

export type CrowdOptions = {
  url: () => string;
  key: { apiKey: string; apiSecret: string };
  endpoint: LightEndpoint;
};

const lookMs = 100;
const comeBackMs = 20_000;

/** Somebody who speaks and listens, and stays until told to leave. */
export class Person {
  readonly room: string;
  readonly identity: string;
  readonly #options: CrowdOptions;
  #client: LightClient;
  #hasLeft = false;
  readonly #watching: Promise<void>;
  /** Milliseconds without a call, of each time that it was moved with a new join. */
  readonly gapsMs: number[] = [];
  /** What ended the call for good, when that was not this person. */
  lost: string | undefined;

  static async join(options: CrowdOptions, room: string, identity: string, speaks: boolean): Promise<Person> {
    return new Person({ options, room, identity, client: await connect(options, room, identity, speaks), speaks });
  }

  private constructor(parts: {
    options: CrowdOptions;
    room: string;
    identity: string;
    client: LightClient;
    speaks: boolean;
  }) {
    this.#options = parts.options;
    this.room = parts.room;
    this.identity = parts.identity;
    this.#client = parts.client;
    this.#watching = this.#watch(parts.speaks);
  }

  async leave(): Promise<void> {
    this.#hasLeft = true;
    await this.#client.leave().catch(() => undefined);
    await this.#watching;
  }

  /** Longest silence of what this person hears, since it was asked last. */
  async hearingGapMs(): Promise<number> {
    const gaps = await Promise.all(
      this.#client.subscribedTrackSids.map(async (sid) => {
        const stats = await this.#client.stats(sid, { reset: true }).catch(() => undefined);
        return Math.max(stats?.maxGapMs ?? 0, stats?.silentMs ?? 0);
      }),
    );
    return Math.max(0, ...gaps);
  }

  async #watch(speaks: boolean): Promise<void> {
    while (!this.#hasLeft && this.lost === undefined) {
      const { leaveReceived, socketCloseCode } = this.#client;
      if (leaveReceived !== undefined && leaveReceived.action !== LeaveRequest_Action.RECONNECT) {
        this.lost = `told to leave: ${leaveReceived.toJsonString()}`;
      } else if (leaveReceived !== undefined || socketCloseCode !== undefined) {
        await this.#comeBack(speaks);
      }
      await delay(lookMs);
    }
  }

  async #comeBack(speaks: boolean): Promise<void> {
    const sinceMs = performance.now();
    await this.#client.abandon().catch(() => undefined);
    while (!this.#hasLeft && performance.now() - sinceMs < comeBackMs) {
      try {
        this.#client = await connect(this.#options, this.room, this.identity, speaks);
        this.gapsMs.push(Math.round(performance.now() - sinceMs));
        return;
      } catch {
        await delay(lookMs);
      }
    }
    if (!this.#hasLeft) {
      this.lost = `could not come back in ${comeBackMs} ms`;
    }
  }
}

async function connect(options: CrowdOptions, room: string, identity: string, speaks: boolean): Promise<LightClient> {
  const { url, key, endpoint } = options;
  const token = await joinToken({ room, identity, key });
  const publish = speaks ? { audio: true, video: { bitrateBps: 2_000_000 } } : {};
  return LightClient.join({ url: url(), token, endpoint, publish });
}
