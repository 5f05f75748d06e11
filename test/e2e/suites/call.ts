/** What a call has to do, played by every pair of real clients: rtc-node and livekit-client in Chromium. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { BrowserPeer } from '../../kit/browser-peer.ts';
import { TestBrowser } from '../../kit/browser.ts';
import type { StartTarget, TestTarget } from '../../kit/target.ts';
import { sha256, type Peer, type PeerView } from '../../kit/peer.ts';
import { RtcPeer } from '../../kit/rtc-peer.ts';
import { until } from '../../kit/until.ts';

type Client = Peer['client'];
type Scenario = (sender: Peer, receiver: Peer) => Promise<void>;

/** In this order, in one room per pair: the first one finds the receiver just joined, after the sender published. */
const scenarios: Record<string, Scenario> = {
  'a late joiner sees, hears and knows who is there': async (sender, receiver) => {
    const view = await seen(receiver, sender, ({ tracks }) => tracks.length === 2);
    assert.deepEqual(view.attributes, { role: 'sender' });
    assert.equal(view.metadata, 'from the token');
    const [audio, video] = await sids(sender);
    await Promise.all([receiver.waitForPicture(video), receiver.waitForSound(audio)]);
    await Promise.all([sender.waitForSubscriber(video), sender.waitForSubscriber(audio)]);
  },

  'mute silences a track and unmute brings it back': async (sender, receiver) => {
    const [audio, video] = await sids(sender);
    for (const sid of [audio, video]) await sender.setMuted(sid, true);
    await seen(receiver, sender, ({ tracks }) => tracks.every(({ muted }) => muted));
    await receiver.waitForSilence(audio);
    for (const sid of [audio, video]) await sender.setMuted(sid, false);
    await seen(receiver, sender, ({ tracks }) => tracks.every(({ muted }) => !muted));
    await Promise.all([receiver.waitForPicture(video), receiver.waitForSound(audio)]);
  },

  'who speaks (again) is named': async (sender, receiver) => {
    await until(async () =>
      (await receiver.speakers()).includes(sender.identity) ? '' : `${sender.identity} never counted as speaking`,
    );
  },

  'reliable and lossy data arrive with their topic and sender, at those who are meant': async (sender, receiver) => {
    const text = 'grüße';
    await sender.sendData('not for you', { reliable: true, topic: 'private', to: ['somebody else'] });
    await sender.sendData(text, { reliable: true, topic: 'to-one', to: [receiver.identity] });
    await sender.sendData(text, { reliable: true, topic: 'to-all' });
    await sender.sendData(text, { reliable: false, topic: 'lossy' });
    const mine = async (): Promise<string[]> =>
      (await receiver.packets())
        .filter((packet) => packet.from === sender.identity)
        .map((packet) => `${packet.topic}:${packet.reliable ? 'reliable' : 'lossy'}:${packet.text}`)
        .toSorted();
    const expected = [`lossy:lossy:${text}`, `to-all:reliable:${text}`, `to-one:reliable:${text}`];
    await until(async () => ((await mine()).length >= expected.length ? '' : `came: ${(await mine()).join()}`));
    // Reliable data is in order, so that what must not come would be here.
    assert.deepEqual(await mine(), expected);
  },

  'text and byte streams arrive whole': async (sender, receiver) => {
    await receiver.receiveStreams('streams');
    const short = 'a line';
    const long = 'zwölf Boxkämpfer '.repeat(4000);
    const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 7919) % 251);
    await sender.sendText(short, { topic: 'streams', attributes: { colour: 'blue' } });
    await sender.sendText(long, { topic: 'streams' });
    await sender.sendBytes(bytes, { topic: 'streams', name: 'numbers.bin' });
    await until(async () => {
      const came = await receiver.streams();
      return came.length === 3 ? '' : `streams: ${came.map(({ kind, sizeBytes }) => `${kind} ${sizeBytes}`).join()}`;
    });
    const [first, second, third] = await receiver.streams();
    assert.deepEqual([first?.text, first?.attributes['colour'], first?.from], [short, 'blue', sender.identity]);
    assert.ok(second?.text === long, `${second?.sizeBytes} bytes of text`);
    assert.deepEqual(
      [third?.kind, third?.name, third?.sizeBytes, third?.text],
      ['bytes', 'numbers.bin', bytes.length, sha256(bytes)],
    );
  },

  'RPC answers, fails as the other end says, and knows what is not there': async (sender, receiver) => {
    await receiver.answerRpc('shout');
    const to = receiver.identity;
    const large = 'x'.repeat(12_000);
    assert.deepEqual(await sender.callRpc({ to, method: 'shout', payload: 'hello' }), { answer: 'HELLO' });
    assert.deepEqual(await sender.callRpc({ to, method: 'shout', payload: large }), { answer: large.toUpperCase() });
    const failed = await sender.callRpc({ to, method: 'shout', payload: 'fail' });
    assert.ok('errorCode' in failed && failed.errorCode === 1234, JSON.stringify(failed));
    const unknown = await sender.callRpc({ to, method: 'whisper', payload: '' });
    assert.ok('errorCode' in unknown && unknown.errorCode === 1400, JSON.stringify(unknown));
  },

  'metadata and attributes follow their owner': async (sender, receiver) => {
    await sender.setMetadata('changed');
    await sender.setAttributes({ role: '', mood: 'good' });
    await seen(receiver, sender, (view) => view.metadata === 'changed' && view.attributes['mood'] === 'good');
    const view = await receiver.see(sender.identity);
    assert.ok(!view?.attributes['role'], `a deleted attribute is ${view?.attributes['role']}`);
  },

  'a subscriber lets go of a track and takes it again': async (sender, receiver) => {
    const [audio, video] = await sids(sender);
    // Twice, since a client may know the section of the first time from before.
    for (let round = 0; round < 2; round += 1) {
      await receiver.setSubscribed(sender.identity, video, false);
      await seen(receiver, sender, ({ tracks }) =>
        tracks.every(({ sid, subscribed }) => subscribed === (sid === audio)),
      );
      await receiver.waitForStill(video);
      await receiver.setSubscribed(sender.identity, video, true);
      await Promise.all([receiver.waitForPicture(video), receiver.waitForSound(audio)]);
    }
  },

  'a subscriber changes its mind faster than it can be served': async (sender, receiver) => {
    const [, video] = await sids(sender);
    for (const wanted of [false, true, false, true]) await receiver.setSubscribed(sender.identity, video, wanted);
    await receiver.waitForPicture(video);
    for (const wanted of [false, true, false]) await receiver.setSubscribed(sender.identity, video, wanted);
    await seen(receiver, sender, ({ tracks }) => tracks.every(({ sid, subscribed }) => subscribed === (sid !== video)));
    await receiver.setSubscribed(sender.identity, video, true);
    await receiver.waitForPicture(video);
  },

  'a track that is unpublished goes, and one that is published again comes': async (sender, receiver) => {
    for (const kind of ['video', 'audio'] as const) {
      const [audio, video] = await sids(sender);
      const old = kind === 'video' ? video : audio;
      await sender.unpublish(old);
      await seen(receiver, sender, ({ tracks }) => tracks.every(({ sid }) => sid !== old));
      const next = await sender.publish(kind);
      await (kind === 'video' ? receiver.waitForPicture(next) : receiver.waitForSound(next));
    }
  },

  'the quality of both connections is told': async (sender, receiver) => {
    await until(
      async () => {
        const rated = await receiver.rated();
        const missing = [sender.identity, receiver.identity].filter((identity) => !rated.includes(identity));
        return missing.length === 0 ? '' : `${receiver.identity} was told nothing of ${missing.join()}`;
      },
      { timeoutMs: 15_000, intervalMs: 100 },
    );
  },

  'who leaves is gone': async (sender, receiver) => {
    await sender.close();
    await until(async () =>
      (await receiver.others()).length === 0
        ? ''
        : `${receiver.identity} still sees ${(await receiver.others()).join()}`,
    );
  },
};

/** What a kind of receiver cannot do, and why. */
const skips: Record<Client, Record<string, string>> = {
  'rtc-node': {
    'a subscriber changes its mind faster than it can be served':
      'rtc-node 1.1.0 sends wishes that follow each other at once in any order, so that its last one is not always the last to come',
  },
  browser: {},
};

/** Sids of the sound and the picture that a peer publishes, by LiveKit's kind letter. */
async function sids(sender: Peer): Promise<[audio: string, video: string]> {
  const published = await sender.published();
  const find = (letter: string): string => published.find((sid) => sid.startsWith(`TR_${letter}`)) ?? '';
  return [find('A'), find('V')];
}

async function seen(receiver: Peer, sender: Peer, match: (view: PeerView) => boolean): Promise<PeerView> {
  let view: PeerView | undefined;
  await until(async () => {
    view = await receiver.see(sender.identity);
    return view && match(view) ? '' : `${receiver.identity} sees of ${sender.identity}: ${JSON.stringify(view)}`;
  });
  if (!view) throw new Error('unreachable');
  return view;
}

export function callSuite(start: StartTarget): void {
  let node: TestTarget;
  let browser: TestBrowser;

  before(async () => {
    node = await start({ room: { enable_remote_unmute: true } });
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await node?.close();
  });

  async function join(client: Client, room: string, identity: string): Promise<Peer> {
    const options = {
      url: node.url,
      room,
      identity,
      metadata: 'from the token',
      attributes: { role: identity },
      grants: { canUpdateOwnMetadata: true },
    };
    return client === 'browser' ? BrowserPeer.join(browser, options) : RtcPeer.join(options);
  }

  const clients: Client[] = ['rtc-node', 'browser'];
  for (const [from, to] of clients.flatMap((from) => clients.map((to) => [from, to] as const))) {
    describe(`from ${from} to ${to}`, () => {
      let sender: Peer;
      let receiver: Peer;

      before(async () => {
        const room = `${from} to ${to}`;
        sender = await join(from, room, 'sender');
        await sender.publish('video');
        await sender.publish('audio');
        receiver = await join(to, room, 'receiver');
      });
      after(async () => {
        await receiver?.close();
      });

      for (const [name, scenario] of Object.entries(scenarios)) {
        it(name, { skip: skips[to][name] ?? false }, () => scenario(sender, receiver));
      }
    });
  }
}
