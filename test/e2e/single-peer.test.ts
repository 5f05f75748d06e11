import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { BrowserPeer } from '../kit/browser-peer.ts';
import { TestBrowser, type PageWindow } from '../kit/browser.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { RtcPeer } from '../kit/rtc-peer.ts';
import { onOneConnection, startNodeTarget, type TestTarget } from '../kit/target.ts';
import { until } from '../kit/until.ts';
import { callSuite } from './suites/call.ts';

declare const window: PageWindow;

/** As far as livekit-client lets one see it. */
type Engine = { pcManager?: { mode: string; publisher: { getTransceivers(): { mid: string | null }[] } } };

const start = onOneConnection(startNodeTarget);

after(disposeRtcNode);

describe('a call on a single peer connection', () => callSuite(start));

describe('a single peer connection', () => {
  let node: TestTarget;
  let browser: TestBrowser;

  before(async () => {
    node = await start();
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await node?.close();
  });

  for (const kind of ['browser', 'rtc-node'] as const) {
    it(`of ${kind} receives more tracks than it had sections for`, async () => {
      const room = `many to ${kind}`;
      const options = { url: node.url, room };
      const sender = await BrowserPeer.join(browser, { ...options, identity: 'sender' });
      const receiver =
        kind === 'browser'
          ? await BrowserPeer.join(browser, { ...options, identity: 'receiver' })
          : await RtcPeer.join({ ...options, identity: 'receiver' });
      const sids: string[] = [];
      for (let index = 0; index < 5; index += 1) sids.push(await sender.publish('audio'));
      for (const sid of sids) await receiver.waitForSound(sid);
      await receiver.close();
      await sender.close();
    });
  }

  it('is the only one, and meets clients with two', async () => {
    const join = { url: node.url, room: 'both modes' };
    const single = await BrowserPeer.join(browser, { ...join, identity: 'single' });
    const dual = new BrowserPeer(
      await browser.join({ ...join, identity: 'dual', roomOptions: { singlePeerConnection: false } }),
    );
    const modeOf = (peer: BrowserPeer): Promise<string | undefined> =>
      peer.page.evaluate(() => (window.room.engine as unknown as Engine).pcManager?.mode, undefined);
    assert.deepEqual([await modeOf(single), await modeOf(dual)], ['publisher-only', 'subscriber-primary']);
    const [fromSingle, fromDual] = [await single.publish('video'), await dual.publish('video')];
    await Promise.all([single.waitForPicture(fromDual), dual.waitForPicture(fromSingle)]);
    await single.unpublish(fromSingle);
    await until(async () => {
      const view = await dual.see('single');
      return view?.tracks.length === 0 ? '' : `still there: ${JSON.stringify(view)}`;
    });
    await dual.close();
    await single.close();
  });
});
