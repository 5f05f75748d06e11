import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type * as LiveKit from 'livekit-client';
import { TestBrowser, type BrowserClient, type PageWindow } from '../kit/browser.ts';
import { startNodeTarget, type TestTarget } from '../kit/target.ts';
import { until } from '../kit/until.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow & {
  tracks: LiveKit.RemoteDataTrack[];
  own: LiveKit.LocalDataTrack;
  frames: { number: number; isIntact: boolean }[];
  pushed: number;
};

type Flow = { sizeBytes: number; intervalMs: number; frames: number };

describe('data tracks of livekit-client', () => {
  let node: TestTarget;
  let browser: TestBrowser;

  before(async () => {
    node = await startNodeTarget();
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await node?.close();
  });

  const join = async (room: string, identity: string): Promise<BrowserClient> => {
    const page = await browser.join({ url: node.url, room, identity });
    await page.evaluate(listen, undefined);
    return page;
  };

  async function listen(): Promise<void> {
    window.tracks = [];
    window.frames = [];
    window.room.on(window.LivekitClient.RoomEvent.DataTrackPublished, (track) => void window.tracks.push(track));
    await Promise.resolve();
  }

  async function publish(name: string): Promise<void> {
    window.own = await window.room.localParticipant.publishDataTrack({ name });
  }

  /** Reads on for as long as the page lives. */
  async function read(): Promise<void> {
    const [track] = window.tracks;
    if (track === undefined) throw new Error('no data track');
    const reader = track.subscribe().getReader();
    const next = async (): Promise<void> => {
      const { done, value } = await reader.read();
      if (done) return;
      const { payload } = value;
      const number = payload[0] ?? -1;
      window.frames.push({ number, isIntact: payload.every((byte) => byte === number) });
      await next();
    };
    void next();
    await Promise.resolve();
  }

  async function push({ sizeBytes, intervalMs, frames }: Flow): Promise<void> {
    window.pushed = 0;
    for (let index = 0; index < frames; index += 1) {
      try {
        await window.own.tryPush({ payload: new Uint8Array(sizeBytes).fill(index % 256) });
        window.pushed += 1;
      } catch {
        // The client's own channel is full.
      }
      await new Promise((resolve) => setTimeout(resolve, intervalMs));
    }
  }

  const take = (): Promise<{ number: number; isIntact: boolean }[]> => Promise.resolve(window.frames.splice(0));

  it('are announced, subscribed, and carry frames of any size until they are unpublished', async (t) => {
    const [alice, bob] = [await join('data-tracks', 'alice'), await join('data-tracks', 'bob')];
    await alice.evaluate(publish, 'telemetry');
    await until(async () =>
      (await bob.evaluate(() => Promise.resolve(window.tracks.map(({ info }) => info.name).join()), undefined)) ===
      'telemetry'
        ? ''
        : 'bob knows of no data track',
    );
    await bob.evaluate(read, undefined);
    // The subscription is on its way: until it is there, frames go nowhere.
    await until(async () => {
      await alice.evaluate(push, { sizeBytes: 1, intervalMs: 0, frames: 1 });
      return (await bob.evaluate(take, undefined)).length > 0 ? '' : 'no frame came';
    });
    for (const flow of [
      { sizeBytes: 8_000, intervalMs: 8, frames: 120, least: 60 },
      // A dozen messages that are never sent again: how many frames come whole is shown, not promised.
      { sizeBytes: 196_000, intervalMs: 100, frames: 10, least: 1 },
    ]) {
      await bob.evaluate(take, undefined);
      await alice.evaluate(push, flow);
      const pushed = await alice.evaluate(() => Promise.resolve(window.pushed), undefined);
      const received: { number: number; isIntact: boolean }[] = [];
      await until(async () => {
        received.push(...(await bob.evaluate(take, undefined)));
        return received.length >= flow.least ? '' : `${received.length} of ${pushed} frames`;
      });
      t.diagnostic(`${flow.sizeBytes} bytes: ${received.length} of ${pushed} frames`);
      assert.ok(received.every(({ isIntact }) => isIntact));
      const numbers = received.map(({ number }) => number);
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
      );
    }
    await alice.evaluate(() => window.own.unpublish(), undefined);
    await bob.waitForEvent('dataTrackUnpublished');
    await Promise.all([alice.close(), bob.close()]);
  });
});
