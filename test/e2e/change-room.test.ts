import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LeaveRequest_Action, type DataPacket } from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { TestBrowser, type PageWindow } from '../kit/browser.ts';
import { freePortRange } from '../kit/free-ports.ts';
import { LightClient, type LightClientOptions } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startNodeTarget, type TestTarget } from '../kit/target.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

declare const window: PageWindow;

const publish = { audio: true } as const;

/** In the page. */
async function send(text: string): Promise<void> {
  await window.room.localParticipant.publishData(new TextEncoder().encode(text), { reliable: true });
}

const textOf = ({ value }: DataPacket): string =>
  value.case === 'user' ? Buffer.from(value.value.payload).toString() : '';

describe('MoveParticipant', () => {
  let node: TestTarget;
  let endpoint: LightEndpoint;
  let browser: TestBrowser;
  let api: RoomServiceClient;

  before(async () => {
    // A client takes another connection only with another certificate, and each worker has one.
    const workers = 2;
    const port = await freePortRange(workers + 1);
    node = await startNodeTarget({ rtc: { workers, port_range_start: port, port_range_end: port + workers } });
    endpoint = await LightEndpoint.start();
    browser = await TestBrowser.start();
    api = new RoomServiceClient(node.url, devKey.apiKey, devKey.apiSecret);
  });
  after(async () => {
    await browser?.close();
    await endpoint?.close();
    await node?.close();
  });

  const joinLight = async (
    room: string,
    identity: string,
    options: Partial<LightClientOptions> = {},
  ): Promise<LightClient> =>
    LightClient.join({ url: node.url, token: await joinToken({ room, identity }), endpoint, ...options });

  it('takes a browser to another room with its connections, sid and tracks', async () => {
    const alice = await browser.join({ url: node.url, room: 'from', identity: 'alice' });
    const [bob, carol] = [await joinLight('from', 'bob', { publish }), await joinLight('to', 'carol', { publish })];
    const microphone = await alice.publishMicrophone();
    await bob.waitForTrack(microphone, { contiguousMs: 200 });
    const { sid } = await bob.waitForParticipant('alice');
    await alice.evaluate(send, 'before');
    await bob.waitForPacket((packet) => textOf(packet) === 'before');

    await api.moveParticipant('from', 'alice', 'to');
    await alice.waitForEvent('moved');
    await until(() => (bob.participants.has('alice') ? 'alice is still in the first room' : ''));
    const info = await carol.waitForParticipant('alice', ({ tracks }) => tracks.length === 1);
    assert.deepEqual([info.sid, info.tracks[0]?.sid], [sid, microphone]);
    await carol.waitForTrack(microphone, { contiguousMs: 300 });
    await until(async () =>
      (await alice.evaluate(() => Promise.resolve([...window.room.remoteParticipants.keys()].join()), undefined)) ===
      'carol'
        ? ''
        : 'alice does not see carol alone',
    );
    await until(async () => {
      const track = carol.publishedTrackSids[0] ?? '';
      return (await alice.evaluate((trackSid) => window.kit.soundStats(trackSid), track)) === undefined
        ? 'no sound'
        : '';
    });
    await alice.evaluate(send, 'after');
    await carol.waitForPacket((packet) => textOf(packet) === 'after');
    await carol.sendData(Buffer.from('from carol'));
    await until(async () => ((await alice.packets()).some(({ text }) => text === 'from carol') ? '' : 'no data'));
    const events = await alice.events();
    for (const event of ['reconnecting', 'disconnected', 'localTrackUnpublished'])
      assert.ok(!events.includes(event), event);
    assert.equal(await alice.evaluate(() => Promise.resolve(window.room.name), undefined), 'to');
    await Promise.all([alice.close(), bob.leave(), carol.leave()]);
  });

  it('tells a client that takes no other connections to join the other room', async () => {
    const query = { browser: 'Firefox' };
    const [dave, erin] = [await joinLight('from-2', 'dave', { query }), await joinLight('to-2', 'erin')];
    await api.moveParticipant('from-2', 'dave', 'to-2');
    const { leaveReceived } = dave;
    await dave.waitFor(() => dave.leaveReceived !== undefined, 'the word to go');
    assert.equal((leaveReceived ?? dave.leaveReceived)?.action, LeaveRequest_Action.RECONNECT);
    const token = dave.messages.findLast((message) => message.case === 'refreshToken')?.value ?? '';
    const again = await LightClient.join({ url: node.url, token, endpoint, query });
    await erin.waitForParticipant('dave');
    await Promise.all([dave.leave(), again.leave(), erin.leave()]);
  });
});
