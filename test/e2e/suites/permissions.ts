/** Who may publish and receive what: rights of tokens, of publishers over their tracks, and tokens that are renewed or taken back. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  AddTrackRequest,
  MuteTrackRequest,
  RequestResponse_Reason,
  type SignalRequest,
  GetDataBlobRequest,
  StoreDataBlobRequest,
  SubscriptionPermission,
  TrackPermission,
  TrackSource,
  TrackType,
  UpdateLocalAudioTrack,
  UpdateLocalVideoTrack,
  UpdateParticipantMetadata,
} from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { BrowserPeer } from '../../kit/browser-peer.ts';
import { TestBrowser, type PageWindow } from '../../kit/browser.ts';
import { LightClient } from '../../kit/light-client.ts';
import { LightEndpoint } from '../../kit/light/light-endpoint.ts';
import type { Peer, PeerJoinOptions } from '../../kit/peer.ts';
import { RtcPeer } from '../../kit/rtc-peer.ts';
import type { StartTarget, TestTarget } from '../../kit/target.ts';
import { devKey, joinToken, type TokenOptions } from '../../kit/tokens.ts';
import { until } from '../../kit/until.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow & { permissions: [trackSid: string, status: string][] };

/** LiveKit's DisconnectReason. */
const participantRemoved = 4;

type Allowed = { participantIdentity: string; allowAll: boolean; allowedTrackSids?: string[] };
type Video = { canPublish?: boolean; canPublishSources?: string[]; canSubscribe?: boolean };
type Claims = { nbf: number; exp: number; metadata?: string; video: Video };

function claimsOf(token: string): Claims {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Claims;
}

export function permissionsSuite(start: StartTarget): void {
  let node: TestTarget;
  let browser: TestBrowser;
  let endpoint: LightEndpoint;
  let service: RoomServiceClient;

  before(async () => {
    node = await start();
    browser = await TestBrowser.start();
    endpoint = await LightEndpoint.start();
    service = new RoomServiceClient(node.url, devKey.apiKey, devKey.apiSecret);
  });
  after(async () => {
    await browser?.close();
    await endpoint?.close();
    await node?.close();
  });

  async function joinBrowser(options: Omit<PeerJoinOptions, 'url'>): Promise<BrowserPeer> {
    return BrowserPeer.join(browser, { ...options, url: node.url });
  }

  async function joinAs(client: Peer['client'], options: Omit<PeerJoinOptions, 'url'>): Promise<Peer> {
    return client === 'browser' ? joinBrowser(options) : RtcPeer.join({ ...options, url: node.url });
  }

  async function joinLight(options: TokenOptions): Promise<LightClient> {
    return LightClient.join({ url: node.url, token: await joinToken(options), endpoint });
  }

  async function allow(publisher: BrowserPeer, all: boolean, list: Allowed[] = []): Promise<void> {
    await publisher.page.evaluate(
      ([everybody, permissions]) =>
        window.room.localParticipant.setTrackSubscriptionPermissions(everybody, permissions),
      [all, list] as const,
    );
  }

  /** The refresh token that livekit-client holds. */
  async function tokenOf(peer: BrowserPeer): Promise<string> {
    return peer.page.evaluate(() => (window.room.engine as unknown as { token: string }).token, undefined);
  }

  describe('a publisher', () => {
    it('chooses who receives which of its tracks, and may change its mind', async () => {
      const room = 'choosy';
      const publisher = await joinBrowser({ room, identity: 'publisher' });
      const web = await joinBrowser({ room, identity: 'web' });
      const app = await joinAs('rtc-node', { room, identity: 'app' });
      await web.page.evaluate(() => {
        window.permissions = [];
        window.room.on(window.LivekitClient.RoomEvent.TrackSubscriptionPermissionChanged, (publication, status) => {
          window.permissions.push([publication.trackSid, status]);
        });
      }, undefined);
      const told = async (trackSid: string, status: string): Promise<void> =>
        until(async () => {
          const all = await web.page.evaluate(() => window.permissions, undefined);
          const last = all.findLast(([sid]) => sid === trackSid)?.[1];
          return last === status ? '' : `of ${trackSid} it was told last: ${last}`;
        });
      const video = await publisher.publish('video');
      const audio = await publisher.publish('audio');
      await Promise.all([web.waitForPicture(video), app.waitForPicture(video)]);
      await Promise.all([web.waitForSound(audio), app.waitForSound(audio)]);

      await allow(publisher, false, [{ participantIdentity: 'app', allowAll: true }]);
      await Promise.all([told(video, 'not_allowed'), told(audio, 'not_allowed')]);
      await Promise.all([web.waitForStill(video), web.waitForSilence(audio)]);
      await Promise.all([app.waitForPicture(video), app.waitForSound(audio)]);

      await allow(publisher, false, [{ participantIdentity: 'web', allowAll: false, allowedTrackSids: [audio] }]);
      await told(audio, 'allowed');
      await web.waitForSound(audio);
      await app.waitForStill(video);
      assert.equal((await web.see('publisher'))?.tracks.find(({ sid }) => sid === video)?.subscribed, false);

      await allow(publisher, true);
      await told(video, 'allowed');
      await Promise.all([web.waitForPicture(video), app.waitForPicture(video), app.waitForSound(audio)]);
      await Promise.all([publisher.close(), web.close(), app.close()]);
    });

    it('holds those who come later to its choice, and those who ask for the track by themselves', async () => {
      const room = 'choosy later';
      const publisher = await joinBrowser({ room, identity: 'publisher' });
      await allow(publisher, false, [{ participantIdentity: 'friend', allowAll: true }]);
      const video = await publisher.publish('video');
      const friend = await joinAs('rtc-node', { room, identity: 'friend' });
      await friend.waitForPicture(video);
      const stranger = await joinLight({ room, identity: 'stranger' });
      const refused = await stranger.waitForMessage(({ case: kind }) => kind === 'subscriptionPermissionUpdate');
      assert.ok(refused.case === 'subscriptionPermissionUpdate');
      assert.deepEqual([refused.value.trackSid, refused.value.allowed], [video, false]);
      stranger.setSubscribed([video], true);
      await service.updateSubscriptions(room, 'stranger', [video], true);
      // What the room does for the stranger is in order: had it been let in, the track would be there by this answer.
      await service.getParticipant(room, 'stranger');
      assert.deepEqual(stranger.subscribedTrackSids, []);
      await allow(publisher, true);
      await stranger.waitForTrack(video);
      await Promise.all([publisher.close(), friend.close(), stranger.leave()]);
    });

    it('is not asked about recorders', async () => {
      const room = 'choosy recorded';
      const publisher = await joinBrowser({ room, identity: 'publisher' });
      await allow(publisher, false);
      const video = await publisher.publish('video');
      const recorder = await joinLight({ room, identity: 'recorder', grants: { recorder: true, hidden: true } });
      await recorder.waitForTrack(video);
      await Promise.all([publisher.close(), recorder.leave()]);
    });

    it('may speak of sessions by sid, as older clients do', async () => {
      const room = 'choosy by sid';
      const publisher = await joinLight({ room, identity: 'publisher' });
      const friend = await joinLight({ room, identity: 'friend' });
      const stranger = await joinLight({ room, identity: 'stranger' });
      const trackSid = await publisher.publishAudio();
      await Promise.all([friend.waitForTrack(trackSid), stranger.waitForTrack(trackSid)]);
      const trackPermissions = [new TrackPermission({ participantSid: friend.sid, trackSids: [trackSid] })];
      const value = new SubscriptionPermission({ allParticipants: false, trackPermissions });
      publisher.send({ case: 'subscriptionPermission', value });
      await stranger.waitFor(() => stranger.subscribedTrackSids.length === 0, 'the end of the track');
      assert.deepEqual(friend.subscribedTrackSids, [trackSid]);
      await Promise.all([publisher.leave(), friend.leave(), stranger.leave()]);
    });
  });

  describe('a token', () => {
    for (const client of ['rtc-node', 'browser'] as const) {
      it(`names the sources of which ${client} may publish`, async () => {
        const room = `sources ${client}`;
        const grants = { canPublishSources: [TrackSource.MICROPHONE] };
        const guest = await joinAs(client, { room, identity: 'guest', grants });
        const watcher = await joinAs('rtc-node', { room, identity: 'watcher' });
        const audio = await guest.publish('audio');
        await watcher.waitForSound(audio);
        // rtc-node does not read the refusal and waits ten seconds for another answer.
        if (client === 'browser') await assert.rejects(guest.publish('video'), /insufficient permissions/);
        assert.deepEqual(
          (await watcher.see('guest'))?.tracks.map(({ sid }) => sid),
          [audio],
        );
        await Promise.all([guest.close(), watcher.close()]);
      });
    }

    it('is renewed when the rights or the description of its holder change, and lets in with them', async () => {
      const room = 'renewed';
      const guest = await joinBrowser({ room, identity: 'guest' });
      const first = await tokenOf(guest);
      const permission = { canSubscribe: true, canPublish: true, canPublishSources: [TrackSource.MICROPHONE] };
      await service.updateParticipant(room, 'guest', { metadata: 'second', permission });
      await until(async () => {
        const { metadata, video } = claimsOf(await tokenOf(guest));
        const isRight = metadata === 'second' && video.canPublishSources?.join() === 'microphone';
        return isRight ? '' : `its token says ${JSON.stringify({ metadata, video })}`;
      });
      const renewed = await tokenOf(guest);
      assert.ok(claimsOf(renewed).exp >= claimsOf(first).exp - 1);
      await guest.close();
      await until(async () => ((await service.listParticipants(room)).length === 0 ? '' : 'it is still there'));
      const again = await joinBrowser({ room, identity: 'guest', token: renewed });
      const rights = await again.page.evaluate(() => window.room.localParticipant.permissions, undefined);
      assert.deepEqual(rights?.canPublishSources, [TrackSource.MICROPHONE]);
      assert.equal(await again.page.evaluate(() => window.room.localParticipant.metadata, undefined), 'second');
      await again.close();
    });

    for (const client of ['rtc-node', 'browser'] as const) {
      it(`that a moderator took back does not let ${client} in any more, and a younger one does`, async () => {
        const room = `revoked ${client}`;
        const token = await joinToken({ room, identity: 'guest' });
        const watcher = await joinLight({ room, identity: 'watcher' });
        const guest = await joinAs(client, { room, identity: 'guest', token });
        const revokeTokenTs = claimsOf(token).nbf + 2;
        const renewed = guest instanceof BrowserPeer ? await tokenOf(guest) : token;
        await service.removeParticipant(room, 'guest', { revokeTokenTs: BigInt(revokeTokenTs) });
        await until(async () =>
          (await guest.disconnectReason()) === participantRemoved ? '' : `reason ${await guest.disconnectReason()}`,
        );
        await assert.rejects(joinAs(client, { room, identity: 'guest', token }));
        if (claimsOf(renewed).nbf < revokeTokenTs) {
          await assert.rejects(joinAs(client, { room, identity: 'guest', token: renewed }));
        }
        await assert.rejects(joinLight({ room, identity: 'guest', token }), /leave.*PARTICIPANT_REMOVED/);
        assert.deepEqual(
          (await service.listParticipants(room)).map(({ identity }) => identity),
          ['watcher'],
        );
        await until(() => (Date.now() / 1000 >= revokeTokenTs ? '' : 'tokens are still too old'));
        const again = await joinAs(client, { room, identity: 'guest' });
        await watcher.waitForTrack(await again.publish('audio'));
        await again.close();
        await watcher.leave();
      });
    }
  });

  it('answers requests that cannot be met with the reason and the request', async () => {
    const room = 'refusals';
    const grants = { canUpdateOwnMetadata: false, canPublishData: false, canPublishSources: [TrackSource.CAMERA] };
    const client = await joinLight({ room, identity: 'guest', grants });
    const { MICROPHONE, CAMERA } = TrackSource;
    const { NOT_ALLOWED, UNSUPPORTED_TYPE, INVALID_REQUEST, NOT_FOUND } = RequestResponse_Reason;
    const track = { cid: 'x', type: TrackType.VIDEO, source: CAMERA };
    const addTrack = (change: object): SignalRequest['message'] => ({
      case: 'addTrack',
      value: new AddTrackRequest({ ...track, ...change }),
    });
    const requests: [SignalRequest['message'], reason: RequestResponse_Reason, echo: string | undefined][] = [
      [addTrack({ source: MICROPHONE, type: TrackType.AUDIO }), NOT_ALLOWED, 'addTrack'],
      [addTrack({ type: TrackType.DATA }), UNSUPPORTED_TYPE, 'addTrack'],
      [addTrack({ cid: '' }), INVALID_REQUEST, 'addTrack'],
      [addTrack({ sid: 'TR_unknown' }), NOT_FOUND, 'addTrack'],
      [{ case: 'mute', value: new MuteTrackRequest({ sid: 'TR_unknown', muted: true }) }, NOT_FOUND, 'mute'],
      [
        { case: 'updateAudioTrack', value: new UpdateLocalAudioTrack({ trackSid: 'TR_unknown' }) },
        NOT_FOUND,
        'updateAudioTrack',
      ],
      [
        { case: 'updateVideoTrack', value: new UpdateLocalVideoTrack({ trackSid: 'TR_unknown', width: 1 }) },
        NOT_FOUND,
        'updateVideoTrack',
      ],
      [
        { case: 'updateMetadata', value: new UpdateParticipantMetadata({ requestId: 7, name: 'Guest' }) },
        NOT_ALLOWED,
        'updateMetadata',
      ],
      [
        { case: 'storeDataBlobRequest', value: new StoreDataBlobRequest({ requestId: 8 }) },
        UNSUPPORTED_TYPE,
        undefined,
      ],
      [{ case: 'getDataBlobRequest', value: new GetDataBlobRequest({ requestId: 9 }) }, UNSUPPORTED_TYPE, undefined],
    ];
    for (const [message] of requests) client.send(message);
    const answers = (): (RequestResponse_Reason | string | undefined)[][] =>
      client.messages.flatMap((message) =>
        message.case === 'requestResponse' ? [[message.value.reason, message.value.request.case]] : [],
      );
    await client.waitFor(
      () => answers().length === requests.length,
      () => `answers: ${JSON.stringify(answers())}`,
    );
    assert.deepEqual(
      answers(),
      requests.map(([, reason, echo]) => [reason, echo]),
    );
    const ids = client.messages.flatMap(({ case: kind, value }) =>
      kind === 'requestResponse' ? [value.requestId] : [],
    );
    assert.deepEqual(ids.slice(-3), [7, 8, 9]);
    await client.leave();
  });
}
