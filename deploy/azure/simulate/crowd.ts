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

/** A voice alone is hardly a load. */
export type Sends = 'voice' | 'camera';

const lookMs = 100;
const comeBackMs = 20_000;
const hearAgainMs = 10_000;
const hearLookMs = 20;
const aliveMs = 1_000;

/** Somebody who speaks and listens, and stays until told to leave. */
export class Person {
  readonly room: string;
  readonly identity: string;
  readonly #options: CrowdOptions;
  #client: LightClient;
  #hasLeft = false;
  readonly #watching: Promise<void>;
  /** Of each time that it was moved with a new join: milliseconds without a call, and without anybody's voice. */
  readonly gapsMs: { call: number; audio: number }[] = [];
  /** What ended the call for good, when that was not this person. */
  lost: string | undefined;

  static async join(options: CrowdOptions, room: string, identity: string, sends: Sends): Promise<Person> {
    return new Person({ options, room, identity, client: await connect(options, room, identity, sends), sends });
  }

  private constructor(parts: {
    options: CrowdOptions;
    room: string;
    identity: string;
    client: LightClient;
    sends: Sends;
  }) {
    this.#options = parts.options;
    this.room = parts.room;
    this.identity = parts.identity;
    this.#client = parts.client;
    this.#watching = this.#watch(parts.sends);
  }

  async leave(): Promise<void> {
    this.#hasLeft = true;
    await this.#client.leave().catch(() => undefined);
    await this.#watching;
  }

  /** Whether media of somebody else arrives, after a while at most. A call without it is lost. */
  async hears(): Promise<boolean> {
    const sinceMs = performance.now();
    const { leaveReceived } = this.#client;
    while (performance.now() - sinceMs < hearAgainMs && this.#client.leaveReceived === leaveReceived) {
      const silentMs = await this.#silentMs();
      if (silentMs !== undefined && silentMs < aliveMs) {
        return true;
      }
      await delay(hearLookMs);
    }
    return false;
  }

  /** Since anything was heard; undefined when nothing ever was. */
  async #silentMs(): Promise<number | undefined> {
    const silences = await Promise.all(
      this.#client.subscribedTrackSids.map(
        async (sid) => (await this.#client.stats(sid).catch(() => undefined))?.silentMs,
      ),
    );
    const known = silences.filter((silentMs) => silentMs !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
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

  async #watch(sends: Sends): Promise<void> {
    while (!this.#hasLeft && this.lost === undefined) {
      const { leaveReceived, socketCloseCode } = this.#client;
      if (leaveReceived !== undefined && leaveReceived.action !== LeaveRequest_Action.RECONNECT) {
        this.lost = `told to leave: ${leaveReceived.toJsonString()}`;
      } else if (leaveReceived !== undefined || socketCloseCode !== undefined) {
        await this.#comeBack(sends);
      }
      await delay(lookMs);
    }
  }

  async #comeBack(sends: Sends): Promise<void> {
    const sinceMs = performance.now();
    const heardAtMs = sinceMs - ((await this.#silentMs()) ?? 0);
    await this.#client.abandon().catch(() => undefined);
    while (!this.#hasLeft && performance.now() - sinceMs < comeBackMs) {
      try {
        this.#client = await connect(this.#options, this.room, this.identity, sends);
        const call = Math.round(performance.now() - sinceMs);
        if (await this.hears()) {
          const againAtMs = performance.now() - ((await this.#silentMs()) ?? 0);
          this.gapsMs.push({ call, audio: Math.round(againAtMs - heardAtMs) });
        }
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

async function connect(options: CrowdOptions, room: string, identity: string, sends: Sends): Promise<LightClient> {
  const { url, key, endpoint } = options;
  const token = await joinToken({ room, identity, key });
  const publish = { audio: true, ...(sends === 'camera' ? { video: { bitrateBps: 2_000_000 } } : {}) };
  return LightClient.join({ url: url(), token, endpoint, publish });
}
