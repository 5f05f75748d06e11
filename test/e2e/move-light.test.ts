import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataPacket_Kind, LeaveRequest_Action, ParticipantInfo_State, VideoQuality } from '@livekit/protocol';
import { LightClient, type LightClientOptions } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startMoveCluster, type MoveCluster, type Place } from '../kit/move-cluster.ts';
import { joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

describe('participants of light clients that are moved to another node', () => {
  let cluster: MoveCluster;
  let endpoint: LightEndpoint;
  let from: Place;
  let to: Place;

  before(async () => {
    cluster = await startMoveCluster(['from', 'to']);
    endpoint = await LightEndpoint.start();
    const [first, second] = cluster.places;
    assert.ok(first !== undefined && second !== undefined);
    [from, to] = [first, second];
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
  });

  async function join(room: string, identity: string, options: Partial<LightClientOptions> = {}): Promise<LightClient> {
    const query = { browser: 'Chrome', os: 'linux', ...options.query };
    const token = await joinToken({ room, identity });
    return LightClient.join({ url: cluster.url, token, endpoint, ...options, query });
  }

  /** What a client does whose socket was closed without a `leave`. */
  async function comeBack(client: LightClient): Promise<void> {
    await client.waitFor(() => client.socketCloseCode !== undefined, 'loss of the socket');
    assert.equal(client.leaveReceived, undefined);
    await client.resume();
  }

  async function move(room: string, clients: LightClient[], source = from, target = to): Promise<void> {
    const sids = clients.map(({ sid }) => sid);
    await cluster.prepare(room, sids, source, target);
    cluster.trigger(room, sids, source);
    const publishers = clients.filter((client) => client.publisherPeer !== undefined);
    await Promise.all([...publishers.map((client) => comeBack(client)), cluster.left(source, sids)]);
  }

  async function watchAll(clients: LightClient[], tracks: string[], keyFrame = false): Promise<void> {
    await Promise.all(
      clients.flatMap((client) =>
        tracks
          .filter((track) => !client.publishedTrackSids.includes(track))
          .map((track) =>
            client.waitForTrack(track, { contiguousMs: 300, keyFrame: keyFrame && track.startsWith('TR_V') }),
          ),
      ),
    );
  }

  /** Nobody came, went, or changed a track, as far as others can see. */
  function assertUnnoticed(clients: LightClient[], sinceMessage: Map<LightClient, number>): void {
    for (const client of clients) {
      for (const message of client.messages.slice(sinceMessage.get(client) ?? 0)) {
        if (message.case !== 'update') continue;
        for (const info of message.value.participants) {
          assert.equal(info.state, ParticipantInfo_State.ACTIVE, `${client.identity} heard of ${info.identity}`);
        }
      }
      assert.equal(client.leaveReceived, undefined);
    }
  }

  const markMessages = (clients: LightClient[]) => new Map(clients.map((client) => [client, client.messages.length]));

  function texts(client: LightClient, sender: LightClient, kind = DataPacket_Kind.RELIABLE): string[] {
    return client.packets
      .filter((packet) => packet.participantSid === sender.sid && packet.kind === kind)
      .map((packet) => (packet.value.case === 'user' ? Buffer.from(packet.value.value.payload).toString() : ''));
  }

  it('are moved in place when they only subscribe: same socket, sids and sections', async (t) => {
    const room = 'subscriber';
    const alice = await join(room, 'alice', { publish: { audio: true, video: { simulcast: true } } });
    const bob = await join(room, 'bob');
    const tracks = alice.publishedTrackSids;
    await watchAll([bob], tracks, true);
    const { sid } = bob;
    const marks = markMessages([alice, bob]);
    const offers = (): number => bob.messages.filter((message) => message.case === 'offer').length;
    const before = offers();
    for (const track of tracks) await bob.stats(track, { reset: true });
    await move(room, [bob]);
    await watchAll([bob], tracks, true);
    for (const track of tracks) t.diagnostic(`${track}: gap ${(await bob.stats(track)).maxGapMs} ms`);
    assert.equal(bob.sid, sid);
    assert.equal(bob.socketCloseCode, undefined);
    assert.equal(offers(), before + 1);
    assertUnnoticed([alice, bob], marks);
    assert.deepEqual(
      cluster.legsOn(to, room).map(({ participantSid }) => participantSid as string),
      [sid],
    );
    await alice.leave();
    await bob.leave();
  });

  it('are moved by a resume when they publish, with both connections at once, and others hear no event', async (t) => {
    const room = 'publisher';
    const alice = await join(room, 'alice', { publish: { audio: true, video: { simulcast: true } } });
    const bob = await join(room, 'bob', { publish: { audio: true } });
    const everybody = [alice, bob];
    const tracks = everybody.flatMap(({ publishedTrackSids }) => publishedTrackSids);
    await watchAll(everybody, tracks, true);
    const marks = markMessages(everybody);
    for (const client of everybody) await client.subscriberPeer.stats({ reset: true });
    await move(room, [alice]);
    await watchAll(everybody, tracks, true);
    for (const track of alice.publishedTrackSids)
      t.diagnostic(`bob of ${track}: ${(await bob.stats(track)).maxGapMs} ms`);
    for (const track of bob.publishedTrackSids)
      t.diagnostic(`alice of ${track}: ${(await alice.stats(track)).maxGapMs} ms`);
    assertUnnoticed(everybody, marks);
    // The other one follows, and the first goes back.
    await move(room, [bob]);
    await watchAll(everybody, tracks, true);
    await move(room, [alice], to, from);
    await watchAll(everybody, tracks, true);
    assertUnnoticed(everybody, marks);
    for (const client of everybody) await client.leave();
  });

  it('lose and repeat no reliable message in either direction while both of two senders are moved', async () => {
    const room = 'data';
    const alice = await join(room, 'alice');
    const bob = await join(room, 'bob', { publish: { audio: true } });
    const carol = await join(room, 'carol');
    const senders = [alice, bob];
    for (const client of [alice, bob, carol]) await client.waitForChannels();
    let count = 0;
    let isSending = true;
    const sending = (async () => {
      while (isSending) {
        for (const sender of senders) await sender.sendData(Buffer.from(String(count)));
        count += 1;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    await until(() => (count > 20 ? '' : 'nothing sent'));
    await move(room, [alice, bob, carol]);
    const target = count + 20;
    await until(() => (count > target ? '' : 'nothing sent'));
    isSending = false;
    await sending;
    for (const [receiver, sender] of [
      [bob, alice],
      [carol, alice],
      [alice, bob],
      [carol, bob],
    ] as const) {
      await receiver.waitFor(
        () => texts(receiver, sender).length >= count,
        () => {
          const received = new Set(texts(receiver, sender));
          const missing = Array.from({ length: count }, (_, index) => String(index)).filter(
            (text) => !received.has(text),
          );
          return `${receiver.identity} lacks ${missing.join()} of ${count} of ${sender.identity}`;
        },
      );
      assert.deepEqual(
        texts(receiver, sender),
        Array.from({ length: count }, (_, index) => String(index)),
        `${receiver.identity} of ${sender.identity}`,
      );
    }
    for (const client of [alice, bob, carol]) await client.leave();
  });

  it('stay as they are when the preparation is taken back', async () => {
    const room = 'abort';
    const alice = await join(room, 'alice', { publish: { audio: true } });
    const bob = await join(room, 'bob');
    const tracks = alice.publishedTrackSids;
    await watchAll([bob], tracks);
    const sids = [alice.sid, bob.sid];
    const marks = markMessages([alice, bob]);
    await cluster.prepare(room, sids, from, to);
    await bob.subscriberPeer.stats({ reset: true });
    for (const sid of sids) {
      const participantSid = cluster.legOf(from, sid)?.participantSid;
      assert.ok(participantSid !== undefined);
      cluster.perform({ kind: 'abortPreparation', roomName: room, participantSid, why: 'drain-ended' });
    }
    await until(() => (to.node.counts.legs === 0 ? '' : 'the prepared legs are still there'));
    const stats = await bob.waitForTrack(tracks[0] ?? '', { contiguousMs: 500 });
    assert.equal(stats.lost, 0);
    assert.deepEqual(
      cluster.legsOn(from, room).map(({ move: { kind } }) => kind),
      ['staying', 'staying'],
    );
    assertUnnoticed([alice, bob], marks);
    // It can be done after all.
    await move(room, [alice, bob]);
    await watchAll([bob], tracks);
    for (const client of [alice, bob]) await client.leave();
  });

  it('hear each other when some of them are moved and it is taken back for the others', async () => {
    const room = 'half';
    const alice = await join(room, 'alice', { publish: { audio: true } });
    const bob = await join(room, 'bob', { publish: { audio: true } });
    const carol = await join(room, 'carol');
    const everybody = [alice, bob, carol];
    const tracks = everybody.flatMap(({ publishedTrackSids }) => publishedTrackSids);
    await watchAll(everybody, tracks);
    const marks = markMessages(everybody);
    for (const moved of [alice, bob, carol]) {
      await cluster.prepare(
        room,
        everybody.map(({ sid }) => sid),
        from,
        to,
      );
      cluster.trigger(room, [moved.sid], from);
      for (const { sid } of everybody) {
        const participantSid = cluster.legOf(from, sid)?.participantSid;
        if (participantSid !== undefined && sid !== moved.sid)
          cluster.perform({ kind: 'abortPreparation', roomName: room, participantSid, why: 'drain-ended' });
      }
      if (moved.publisherPeer !== undefined) await comeBack(moved);
      await cluster.left(from, [moved.sid]);
      await watchAll(everybody, tracks);
      await move(room, [moved], to, from);
      await watchAll(everybody, tracks);
    }
    assertUnnoticed(everybody, marks);
    for (const client of everybody) await client.leave();
  });

  it('are moved one after another, all of them made ready at once', async (t) => {
    const room = 'in-turn';
    const alice = await join(room, 'alice', { publish: { audio: true, video: { simulcast: true } } });
    const bob = await join(room, 'bob', { publish: { audio: true } });
    const carol = await join(room, 'carol');
    const everybody = [alice, bob, carol];
    const tracks = everybody.flatMap(({ publishedTrackSids }) => publishedTrackSids);
    await watchAll(everybody, tracks);
    const marks = markMessages(everybody);
    for (const client of everybody) await client.subscriberPeer.stats({ reset: true });
    const sids = everybody.map(({ sid }) => sid);
    await cluster.prepare(room, sids, from, to);
    for (const moved of everybody) {
      cluster.trigger(room, [moved.sid], from);
      if (moved.publisherPeer !== undefined) await comeBack(moved);
      await cluster.left(from, [moved.sid]);
    }
    await watchAll(everybody, tracks);
    for (const client of everybody) {
      for (const track of tracks.filter((sid) => !client.publishedTrackSids.includes(sid)))
        t.diagnostic(`${client.identity} of ${track}: gap ${Math.round((await client.stats(track)).maxGapMs)} ms`);
    }
    assertUnnoticed(everybody, marks);
    assert.equal(cluster.legsOn(to, room).length, 3);
    for (const client of everybody) await client.leave();
  });

  it('keep muted tracks muted, layers as they were chosen, and a second publication', async () => {
    const room = 'settings';
    const alice = await join(room, 'alice', { publish: { audio: true, video: { simulcast: true } } });
    const [audio = '', video = ''] = alice.publishedTrackSids;
    const screen = await alice.publishVideo({ name: 'screen', width: 320, height: 180 });
    const bob = await join(room, 'bob');
    await watchAll([bob], [audio, video, screen], true);
    bob.setTrackSettings(video, { quality: VideoQuality.LOW, width: 160, height: 90 });
    alice.setMuted(audio, true);
    await until(async () => {
      const { silentMs } = await bob.stats(audio);
      const { width } = await bob.stats(video);
      return silentMs > 200 && width === 160 ? '' : `audio is silent for ${silentMs} ms, video is ${width} wide`;
    });
    await move(room, [alice, bob]);
    await watchAll([bob], [video, screen], true);
    // A larger layer may come first, while nothing of the wanted one has.
    await until(async () => ((await bob.stats(video)).width === 160 ? '' : 'another layer'));
    assert.equal((await bob.stats(audio)).packets, 0);
    alice.setMuted(audio, false);
    await watchAll([bob], [audio]);
    for (const client of [alice, bob]) await client.leave();
  });

  it('are told to reconnect when they do not come up on the target', async () => {
    const room = 'reconnect';
    const alice = await join(room, 'alice', { publish: { audio: true } });
    const { sid } = alice;
    await cluster.prepare(room, [sid], from, to);
    cluster.trigger(room, [sid], from);
    await alice.waitFor(() => alice.socketCloseCode !== undefined, 'loss of the socket');
    const participantSid = cluster.legOf(from, sid)?.participantSid;
    assert.ok(participantSid !== undefined);
    cluster.perform({ kind: 'reconnectClient', roomName: room, participantSid, why: 'not-connected' });
    await assert.rejects(alice.resume(), /leave/);
    assert.equal(alice.leaveReceived?.action, LeaveRequest_Action.RECONNECT);
    await alice.abandon();
    cluster.setHome(to);
    const again = await join(room, 'alice', { publish: { audio: true } });
    cluster.setHome(from);
    assert.notEqual(again.sid, sid);
    await cluster.left(from, [sid]);
    await again.leave();
  });

  it('go on where they are when the target is lost before they were told', async () => {
    const room = 'target-early';
    const { target, forget } = await addPlace();
    const alice = await join(room, 'alice', { publish: { audio: true } });
    const bob = await join(room, 'bob');
    const tracks = alice.publishedTrackSids;
    await watchAll([bob], tracks);
    const sids = [alice.sid, bob.sid];
    const marks = markMessages([alice, bob]);
    await bob.subscriberPeer.stats({ reset: true });
    await cluster.prepare(room, sids, from, target);
    await target.node.close();
    cluster.trigger(room, sids, from);
    await until(() =>
      cluster.legsOn(from, room).every(({ move: { kind } }) => kind === 'staying') ? '' : 'they are still on their way',
    );
    const stats = await bob.waitForTrack(tracks[0] ?? '', { contiguousMs: 500 });
    assert.equal(stats.lost, 0);
    assertUnnoticed([alice, bob], marks);
    await forget();
    for (const client of [alice, bob]) await client.leave();
  });

  it('go on where they are when the target is lost after they were told and before they came back', async () => {
    const room = 'target-late';
    const { target, forget } = await addPlace();
    const alice = await join(room, 'alice', { publish: { audio: true } });
    const bob = await join(room, 'bob');
    const tracks = alice.publishedTrackSids;
    await watchAll([bob], tracks);
    await bob.subscriberPeer.stats({ reset: true });
    await cluster.prepare(room, [alice.sid], from, target);
    cluster.trigger(room, [alice.sid], from);
    await alice.waitFor(() => alice.socketCloseCode !== undefined, 'loss of the socket');
    await target.node.close();
    await alice.resume();
    const stats = await bob.waitForTrack(tracks[0] ?? '', { contiguousMs: 500 });
    assert.equal(stats.lost, 0);
    assert.equal(cluster.legOf(from, alice.sid)?.move.kind, 'staying');
    await forget();
    for (const client of [alice, bob]) await client.leave();
  });

  it('are told to reconnect when the target is lost after they arrived', async () => {
    const room = 'target-gone';
    const { target, forget } = await addPlace();
    const alice = await join(room, 'alice', { publish: { audio: true } });
    await move(room, [alice], from, target);
    await target.node.close();
    const leave = await alice.waitForLeave();
    assert.equal(leave.action, LeaveRequest_Action.RECONNECT);
    await alice.abandon();
    await forget();
  });

  it('move twenty at a time, of whom five publish, and everybody hears everybody all the while', async (t) => {
    const room = 'crowd';
    const names = Array.from({ length: 20 }, (_, index) => `p${index}`);
    const everybody: LightClient[] = [];
    for (const [index, name] of names.entries()) {
      everybody.push(await join(room, name, index < 5 ? { publish: { audio: true } } : {}));
    }
    const tracks = everybody.flatMap(({ publishedTrackSids }) => publishedTrackSids);
    await watchAll(everybody, tracks);
    const marks = markMessages(everybody);
    for (const client of everybody) await client.subscriberPeer.stats({ reset: true });
    const offersOf = (client: LightClient): number =>
      client.messages.filter((message) => message.case === 'offer').length;
    const offers = new Map(everybody.map((client) => [client, offersOf(client)]));
    await move(room, everybody);
    await watchAll(everybody, tracks);
    const gaps: number[] = [];
    for (const client of everybody) {
      for (const track of tracks.filter((sid) => !client.publishedTrackSids.includes(sid))) {
        gaps.push((await client.stats(track)).maxGapMs);
      }
    }
    gaps.sort((a, b) => a - b);
    const at = (share: number): number => Math.round(gaps[Math.ceil(share * gaps.length) - 1] ?? 0);
    t.diagnostic(`audio gaps of ${gaps.length} subscriptions: p50 ${at(0.5)} p95 ${at(0.95)} max ${at(1)} ms`);
    const made = everybody.map((client) => offersOf(client) - (offers.get(client) ?? 0));
    t.diagnostic(`offers per client: ${Math.min(...made)} to ${Math.max(...made)}`);
    assertUnnoticed(everybody, marks);
    assert.equal(cluster.legsOn(to, room).length, 20);
    await Promise.all(everybody.map((client) => client.leave()));
  });

  async function addPlace(): Promise<{ target: Place; forget: () => Promise<void> }> {
    const target = await cluster.addPlace();
    return { target, forget: () => target.pool.close() };
  }
});
