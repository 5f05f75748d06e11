import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RoomEvent } from '@livekit/rtc-node';
import { RoomServiceClient } from 'livekit-server-sdk';
import { BrowserPeer } from '../kit/browser-peer.ts';
import { TestBrowser } from '../kit/browser.ts';
import { TestCluster } from '../kit/cluster.ts';
import { disposeRtcNode, RtcClient } from '../kit/rtc-node.ts';
import { RtcPeer } from '../kit/rtc-peer.ts';
import { devKey } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';
import { WebhookTarget } from '../kit/webhook-receiver.ts';

describe('a cluster of two masters and three media nodes', () => {
  let hooks: WebhookTarget;
  let cluster: TestCluster;
  let browser: TestBrowser;

  before(async () => {
    hooks = await WebhookTarget.start();
    cluster = await TestCluster.start({
      masters: 2,
      media: 3,
      config: { webhook: { api_key: devKey.apiKey, urls: [hooks.url] } },
    });
    browser = await TestBrowser.start();
  });
  after(async () => {
    await browser?.close();
    await disposeRtcNode();
    await cluster?.close();
    await hooks?.close();
  });

  it('lets clients of different masters call each other', async () => {
    const room = 'call';
    const alice = await BrowserPeer.join(browser, { url: cluster.url(0), room, identity: 'alice' });
    const bob = await RtcPeer.join({ url: cluster.url(1), room, identity: 'bob' });
    const picture = await alice.publish('video');
    const sound = await bob.publish('audio');
    await bob.waitForPicture(picture);
    await alice.waitForSound(sound);
    await alice.sendData('hello bob', { reliable: true, topic: 'chat' });
    await bob.sendData('hello alice', { reliable: true, topic: 'chat' });
    await until(async () => ((await bob.packets()).some(({ text }) => text === 'hello bob') ? '' : 'bob got nothing'));
    await until(async () =>
      (await alice.packets()).some(({ text }) => text === 'hello alice') ? '' : 'alice got nothing',
    );

    for (const master of cluster.masters) {
      const service = new RoomServiceClient(master.url, devKey.apiKey, devKey.apiSecret);
      const rooms = await service.listRooms([room]);
      assert.equal(rooms.length, 1);
      await until(async () => {
        const [found] = await service.listRooms([room]);
        return found?.numParticipants === 2 ? '' : `${found?.numParticipants} participants are listed`;
      });
      const participants = await service.listParticipants(room);
      assert.deepEqual(participants.map(({ identity }) => identity).toSorted(), ['alice', 'bob']);
    }
    const service = new RoomServiceClient(cluster.url(1), devKey.apiKey, devKey.apiSecret);
    await service.updateRoomMetadata(room, 'told by the other master');
    await service.sendData(room, new TextEncoder().encode('from the server'), 0, { topic: 'server' });
    await until(async () =>
      (await alice.packets()).some(({ text }) => text === 'from the server') ? '' : 'nothing from the server',
    );
    await alice.close();
    await bob.close();
    await service.deleteRoom(room);
    await hooks.waitFor(room, 'room_finished');
    const events = hooks.ofRoom(room).map(({ event }) => event);
    assert.deepEqual(hooks.complaints, []);
    for (const event of ['room_started', 'participant_joined', 'track_published', 'participant_left']) {
      assert.ok(events.includes(event), `${event} is missing among ${events.join()}`);
    }
    assert.deepEqual(await service.listRooms([room]), []);
  });

  it('spreads rooms over its media nodes, and no two masters create one twice', async () => {
    const services = cluster.masters.map(({ url }) => new RoomServiceClient(url, devKey.apiKey, devKey.apiSecret));
    const names: string[] = [];
    const hosts = new Set<string>();
    // The CPU of nodes that have just started differs; once that is over, the rooms themselves are what differs.
    await until(
      async () => {
        const name = `spread-${names.length}`;
        names.push(name);
        const both = await Promise.all(services.map((service) => service.createRoom({ name })));
        assert.equal(both[0]?.sid, both[1]?.sid);
        await until(() => (hosts.add(cluster.hostOf(name).name) ? '' : 'unreachable'));
        return hosts.size === 3 ? '' : `${names.length} rooms are on ${[...hosts].join()}`;
      },
      { intervalMs: 200 },
    );
    for (const name of names) await services[0]?.deleteRoom(name);
  });

  it('brings real clients back when the media node of their call dies', async (t) => {
    const room = 'real';
    const alice = await browser.join({ url: cluster.url(0), room, identity: 'alice' });
    const bob = await RtcClient.join({ url: cluster.url(1), room, identity: 'bob' });
    const picture = await alice.publishCamera();
    const sound = (await bob.publishAudio()).sid ?? '';
    await alice.waitForSound(sound);
    await until(() => (bob.subscribed.has(picture) ? '' : 'bob does not receive alice'));
    let republished = '';
    bob.room.on(RoomEvent.LocalTrackRepublished, (publication) => {
      republished = publication.sid ?? '';
    });
    const host = cluster.hostOf(room);
    const diedAtMs = performance.now();
    await host.kill();
    await alice.waitForEvent('reconnected');
    await until(() => (republished === '' ? 'bob did not publish again' : ''));
    await alice.waitForSound(republished);
    await until(() => {
      const fresh = [...bob.subscribed.values()].find(({ publication }) => publication.sid !== picture);
      return fresh === undefined ? 'bob does not receive alice again' : '';
    });
    const [, again] =
      [...bob.subscribed.values()]
        .map((track) => bob.watchVideo(track))
        .entries()
        .next().value ?? [];
    await until(() => (again !== undefined && again.frames > 2 ? '' : `bob saw ${again?.frames} frames`));
    const tookMs = performance.now() - diedAtMs;
    t.diagnostic(`both see and hear each other again after ${Math.round(tookMs)} ms`);
    assert.ok(tookMs < 5_000, `media after ${tookMs} ms`);
    await alice.close();
    await bob.close();
  });
});
