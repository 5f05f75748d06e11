/** Everything that real clients are tried with on two connections, on one. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { TestBrowser, type PageWindow } from '../kit/browser.ts';
import { startMoveCluster } from '../kit/move-cluster.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { onOneConnection, startNodeTarget, type TestTarget } from '../kit/target.ts';
import { joinToken } from '../kit/tokens.ts';
import { codecsSuite } from './suites/codecs.ts';
import { dataBurstSuite } from './suites/data-burst.ts';
import { layersSuite } from './suites/layers.ts';
import { moderationSuite } from './suites/moderation.ts';
import { moveSuite } from './suites/move.ts';
import { permissionsSuite } from './suites/permissions.ts';
import { resumeSuite } from './suites/resume.ts';

declare const window: PageWindow;

const start = onOneConnection(startNodeTarget);

const joins = 15;

/** Milliseconds from the call of `connect` to its end, in the page, in the middle of `joins`. */
async function joinMs(browser: TestBrowser, target: TestTarget, singlePeerConnection: boolean): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < joins; index += 1) {
    const options = { url: target.url, room: `join-${singlePeerConnection}`, identity: `browser ${index}` };
    const page = await browser.join({ ...options, roomOptions: { singlePeerConnection } });
    const token = await joinToken({ ...options, room: `${options.room} again` });
    const took = await page.evaluate(
      async ({ url, jwt, isSingle }) => {
        const room = new window.LivekitClient.Room({ singlePeerConnection: isSingle });
        const startMs = performance.now();
        await room.connect(url, jwt);
        const tookMs = performance.now() - startMs;
        await room.disconnect();
        return tookMs;
      },
      { url: target.url.replace(/^http/, 'ws'), jwt: token, isSingle: singlePeerConnection },
    );
    times.push(took);
    await page.close();
  }
  return times.toSorted((left, right) => left - right)[Math.floor(joins / 2)] ?? 0;
}

after(disposeRtcNode);
describe('on a single peer connection', () => {
  describe('codecs', () => codecsSuite(start));
  describe('layers', () => layersSuite(start));
  describe('a moderator', () => moderationSuite(start));
  describe('permissions', () => permissionsSuite(start));
  describe('a client that lost its signal socket', () => resumeSuite(start));
  it('a join takes less time than with two', async (t) => {
    const target = await start();
    const browser = await TestBrowser.start();
    try {
      const [dual, single] = [await joinMs(browser, target, false), await joinMs(browser, target, true)];
      t.diagnostic(
        `join of livekit-client, median of ${joins}: two ${dual.toFixed(0)} ms, one ${single.toFixed(0)} ms`,
      );
      assert.ok(single < dual, `${single} ms with one connection, ${dual} ms with two`);
    } finally {
      await browser.close();
      await target.close();
    }
  });
  describe('data', () => dataBurstSuite(start));
  describe('clients that are moved to another node', () =>
    moveSuite(() => startMoveCluster(['from', 'to'], { single_peer_connection: true })));
});
