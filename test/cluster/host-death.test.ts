import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LeaveRequest_Action, ParticipantInfo_State } from '@livekit/protocol';
import { RoomServiceClient, TrackSource } from 'livekit-server-sdk';
import { delayFigures, tellBench } from '../kit/bench-figures.ts';
import { BrowserPeer } from '../kit/browser-peer.ts';
import { TestBrowser } from '../kit/browser.ts';
import { TestCluster, type ClusterProcess } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { disposeRtcNode } from '../kit/rtc-node.ts';
import { RtcPeer } from '../kit/rtc-peer.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';
import { WebhookTarget } from '../kit/webhook-receiver.ts';

/** A room whose host carries the first two participants, and two other nodes the rest. */
const maxLegsPerNode = 2;

type Call = {
  room: string;
  sid: string;
  host: ClusterProcess;
  /** On the host's node: first one that publishes, then one that listens. */
  near: LightClient[];
  /** Elsewhere: one that publishes, then those who listen. */
  far: LightClient[];
};

describe('the host of a room that spans nodes', () => {
  let hooks: WebhookTarget;
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let service: RoomServiceClient;

  before(async () => {
    hooks = await WebhookTarget.start();
    cluster = await TestCluster.start({
      masters: 2,
      media: 3,
      config: {
        // For the kit, which asks the server to unmute on behalf of rtc-node.
        room: { max_legs_per_node: maxLegsPerNode, enable_remote_unmute: true },
        webhook: { api_key: devKey.apiKey, urls: [hooks.url] },
      },
    });
    endpoint = await LightEndpoint.start();
    service = new RoomServiceClient(cluster.url(1), devKey.apiKey, devKey.apiSecret);
  });
  after(async () => {
    await disposeRtcNode();
    await endpoint?.close();
    await cluster?.close();
    await hooks?.close();
  });

  const join = async (room: string, identity: string, publish = {}): Promise<LightClient> => {
    const url = cluster.url(identity.length % 2);
    const token = await joinToken({ room, identity, name: `the ${identity}` });
    return LightClient.join({ url, token, endpoint, publish });
  };

  async function startCall(room: string): Promise<Call> {
    await service.createRoom({ name: room, metadata: `about ${room}`, departureTimeout: 60 });
    const near = [await join(room, 'near', { audio: true }), await join(room, 'nearby')];
    const far = [await join(room, 'far', { audio: true, video: true })];
    for (const identity of ['farer', 'farthest', 'remote']) far.push(await join(room, identity));
    for (const listener of far.slice(1)) {
      for (const track of far[0]?.publishedTrackSids ?? []) await listener.waitForTrack(track, { contiguousMs: 300 });
    }
    await service.updateParticipant(room, 'farer', {
      metadata: 'described by the server',
      attributes: { seat: '12' },
      permission: { canPublish: false, canSubscribe: true, canPublishData: true },
    });
    const joined = [...near, ...far].map(({ identity }) => identity);
    await until(() => {
      const told = hooks.ofRoom(room).filter(({ event }) => event === 'participant_joined');
      return told.length === joined.length ? '' : `${told.length} of ${joined.length} are told to have joined`;
    });
    return { room, sid: far[0]?.joinResponse.room?.sid ?? '', host: cluster.hostOf(room), near, far };
  }

  async function resetStats({ far }: Call): Promise<void> {
    for (const listener of far.slice(1)) {
      for (const track of far[0]?.publishedTrackSids ?? []) await listener.stats(track, { reset: true });
    }
  }

  /** Nothing was lost of what the others elsewhere sent, and no socket was closed. */
  async function assertUntouched({ room, far }: Call): Promise<void> {
    for (const listener of far.slice(1)) {
      for (const track of far[0]?.publishedTrackSids ?? []) {
        const stats = await listener.waitForTrack(track, { contiguousMs: 500 });
        assert.equal(stats.lost, 0, `${listener.identity} lost packets of ${room}`);
        assert.ok(stats.maxGapMs < 1_000, `${listener.identity} had a gap of ${stats.maxGapMs} ms`);
      }
    }
    for (const client of far) {
      assert.equal(client.leaveReceived, undefined, `${client.identity} was told to leave`);
      assert.equal(client.socketCloseCode, undefined, `the socket of ${client.identity} was closed`);
    }
    const events = hooks.ofRoom(room);
    const told = (name: string, identity: string): number =>
      events.filter(({ event, participant }) => event === name && participant?.identity === identity).length;
    for (const { identity } of far) {
      assert.equal(told('participant_joined', identity), 1, `${identity} is told to have joined again`);
      assert.equal(told('participant_left', identity), 0, `${identity} is told to have left`);
    }
    for (const name of ['room_finished', 'track_unpublished']) {
      const wrong = events.filter(({ event, participant }) => event === name && participant?.identity !== 'near');
      assert.deepEqual(wrong, [], `${name} was told`);
    }
    assert.equal(events.filter(({ event }) => event === 'room_started').length, 1);
  }

  /** The room does what it is asked to, for everybody. @returns when it did */
  async function assertAnswers({ room, sid, far }: Call, mark: string): Promise<number> {
    const [publisher] = far;
    assert.ok(publisher !== undefined);
    const metadata = `still ${room} ${mark}`;
    await service.updateRoomMetadata(room, metadata);
    const answeredAtMs = performance.now();
    for (const client of far) {
      await client.waitFor(
        () =>
          client.messages.some((message) => message.case === 'roomUpdate' && message.value.room?.metadata === metadata),
        `the new metadata of ${room} at ${client.identity}`,
      );
    }
    await publisher.sendData(Buffer.from(mark), { topic: mark });
    for (const client of far.slice(1)) {
      await client.waitForPacket(({ value }) => value.case === 'user' && value.value.topic === mark);
    }
    const fresh = await join(room, `fresh-${mark}`);
    assert.equal(fresh.joinResponse.room?.sid, sid);
    const infos = new Map(fresh.joinResponse.otherParticipants.map((info) => [info.identity, info]));
    for (const client of far) {
      assert.equal(infos.get(client.identity)?.sid, client.joinResponse.participant?.sid);
      assert.equal(infos.get(client.identity)?.state, ParticipantInfo_State.ACTIVE);
    }
    const described = infos.get('farer');
    assert.equal(described?.metadata, 'described by the server');
    assert.equal(described?.attributes['seat'], '12');
    assert.equal(described?.permission?.canPublish, false);
    const video = infos.get(publisher.identity)?.tracks.find(({ source }) => source === TrackSource.CAMERA);
    await fresh.waitForTrack(video?.sid ?? '', { contiguousMs: 200 });
    await fresh.leave();
    return answeredAtMs;
  }

  async function assertMutes({ room, far }: Call): Promise<void> {
    const [publisher, listener] = far;
    const [sound = ''] = publisher?.publishedTrackSids ?? [];
    await service.mutePublishedTrack(room, publisher?.identity ?? '', sound, true);
    await listener?.waitFor(
      () =>
        listener.messages.some(
          (message) =>
            message.case === 'update' &&
            message.value.participants.some(({ tracks }) => tracks.some((track) => track.sid === sound && track.muted)),
        ),
      'the mute',
    );
  }

  async function endCall({ room, near, far }: Call): Promise<void> {
    for (const client of [...near, ...far]) await client.abandon();
    await service.deleteRoom(room);
  }

  it('may be killed: media elsewhere goes on, sockets stay, and the room answers within 3 s', async (t) => {
    const call = await startCall('killed');
    await resetStats(call);
    const diedAtMs = performance.now();
    void call.host.kill();
    const answeredAtMs = await assertAnswers(call, 'after');
    t.diagnostic(`the room answers ${Math.round(answeredAtMs - diedAtMs)} ms after its host was killed`);
    tellBench('a host dies alone: the room answers after', delayFigures([answeredAtMs - diedAtMs]));
    assert.ok(answeredAtMs - diedAtMs < 3_000, `the room answered after ${answeredAtMs - diedAtMs} ms`);
    await assertUntouched(call);
    const [publisher] = call.near;
    const gone = publisher?.joinResponse.participant?.sid ?? '';
    for (const client of call.near) await client.waitForLeave();
    for (const client of call.far) {
      await client.waitFor(() => stateOf(client, gone) === ParticipantInfo_State.DISCONNECTED, 'the departure of near');
    }
    await publisher?.abandon();
    const back = await join(call.room, 'near', { audio: true });
    for (const track of back.publishedTrackSids) {
      for (const client of call.far.slice(1)) await client.waitForTrack(track, { contiguousMs: 200 });
    }
    await back.abandon();
    await assertMutes(call);
    await endCall(call);
    await cluster.addMedia();
  });

  it('may fall silent: it is replaced, and keeps silent when it wakes up', async (t) => {
    const call = await startCall('frozen');
    await resetStats(call);
    const frozenAtMs = performance.now();
    call.host.pause();
    const answeredAtMs = await assertAnswers(call, 'asleep');
    t.diagnostic(`the room answers ${Math.round(answeredAtMs - frozenAtMs)} ms after its host fell silent`);
    tellBench('a host falls silent: the room answers after', delayFigures([answeredAtMs - frozenAtMs]));
    assert.ok(answeredAtMs - frozenAtMs < 5_000, `the room answered after ${answeredAtMs - frozenAtMs} ms`);
    for (const client of call.near) {
      await client.waitForLeave();
      await client.abandon();
    }
    call.host.resume();
    await until(() => {
      const lines = call.host.log.lines.filter(
        ({ msg, room }) => msg === 'room left to another node' && room === 'frozen',
      );
      return lines.length === 1 ? '' : 'the old host has not let go of the room';
    });
    await assertAnswers(call, 'awake');
    await assertUntouched(call);
    const gone = call.near.map(({ joinResponse }) => joinResponse.participant?.sid ?? '');
    for (const client of call.far) {
      for (const sid of gone) {
        await client.waitFor(
          () => stateOf(client, sid) === ParticipantInfo_State.DISCONNECTED,
          `the departure of ${sid}`,
          // A leg that wakes up with its node may be taken over; it ends when its client has not been heard for half a minute.
          45_000,
        );
      }
    }
    assert.notEqual(cluster.hostOf('frozen'), call.host);
    await assertMutes(call);
    await endCall(call);
  });

  it('may be killed under real clients, whose calls go on', async () => {
    const room = 'real';
    await service.createRoom({ name: room, departureTimeout: 60 });
    const near = [await join(room, 'near', { audio: true }), await join(room, 'nearby')];
    const host = cluster.hostOf(room);
    const rtc = await RtcPeer.join({ url: cluster.url(0), room, identity: 'rtc' });
    const browser = await TestBrowser.start();
    const page = await BrowserPeer.join(browser, { url: cluster.url(1), room, identity: 'page' });
    try {
      const [picture, sound] = [await rtc.publish('video'), await page.publish('audio')];
      await page.waitForPicture(picture);
      await rtc.waitForSound(sound);
      const sids = [(await page.see('rtc'))?.sid, (await rtc.see('page'))?.sid];
      void host.kill();
      for (const client of near) await client.waitForLeave();
      await page.waitForPicture(picture);
      await rtc.waitForSound(sound);
      await page.sendData('over there?', { reliable: true, topic: 'after' });
      await until(async () => ((await rtc.packets()).some(({ topic }) => topic === 'after') ? '' : 'no packet'));
      await rtc.setMuted(picture, true);
      await until(async () => ((await page.see('rtc'))?.tracks[0]?.muted === true ? '' : 'not muted'));
      await page.waitForStill(picture);
      await rtc.setMuted(picture, false);
      await page.waitForPicture(picture);
      await until(async () => {
        const others = (await page.others()).toSorted();
        return others.join() === 'rtc' ? '' : `the page sees ${others.join()}`;
      });
      assert.deepEqual([(await page.see('rtc'))?.sid, (await rtc.see('page'))?.sid], sids);
      assert.equal(await page.disconnectReason(), undefined);
      for (const identity of ['rtc', 'page']) {
        const joined = hooks.ofRoom(room).filter((hook) => hook.event === 'participant_joined');
        assert.equal(joined.filter(({ participant }) => participant?.identity === identity).length, 1);
      }
    } finally {
      for (const client of near) await client.abandon();
      await page.close();
      await rtc.close();
      await browser.close();
    }
    await service.deleteRoom(room);
    await cluster.addMedia();
  });
});

describe('legs whose room finds no host any more', () => {
  it('end by themselves when their time is over, and their clients are told to join anew', async () => {
    await using stack = new AsyncDisposableStack();
    const cluster = stack.adopt(
      await TestCluster.start({
        masters: 1,
        media: 2,
        config: { room: { max_legs_per_node: 1 }, cluster: { host_grace: 3 } },
      }),
      (value) => value.close(),
    );
    const endpoint = stack.adopt(await LightEndpoint.start(), (value) => value.close());
    const join = async (identity: string, publish = {}): Promise<LightClient> => {
      const token = await joinToken({ room: 'orphans', identity });
      return LightClient.join({ url: cluster.url(0), token, endpoint, publish });
    };
    const near = await join('near');
    const far = await join('far', { audio: true });
    const host = cluster.hostOf('orphans');
    const other = cluster.media.find((node) => node !== host);
    cluster.redis.pause();
    const killedAtMs = performance.now();
    await host.kill();
    const leave = await far.waitForLeave();
    assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
    assert.ok(performance.now() - killedAtMs > 2_500, 'it was told too early');
    await until(() => {
      const said = other?.log.lines.some(({ msg, legs }) => /no host came for the legs/.test(msg) && legs === 1);
      return said === true ? '' : 'the legs are still there';
    });
    cluster.redis.resume();
    await near.abandon();
    await far.abandon();
  });
});

/** What a client was told last of a session. */
function stateOf(client: LightClient, sid: string): ParticipantInfo_State | undefined {
  return client.messages
    .flatMap((message) => (message.case === 'update' ? message.value.participants : []))
    .findLast((info) => info.sid === sid)?.state;
}
