import type { BrowserClient, PageWindow, ReceivedStream, TestBrowser } from './browser.ts';
import {
  stillness,
  type DataTarget,
  type Peer,
  type PeerJoinOptions,
  type PeerPacket,
  type PeerView,
  type RpcCall,
  type RpcOutcome,
} from './peer.ts';
import { until } from './until.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow & { speakers: Set<string>; rated: Set<string> };

/** livekit-client in a page of Chromium. */
export class BrowserPeer implements Peer {
  readonly client = 'browser';
  readonly page: BrowserClient;

  static async join(browser: TestBrowser, options: PeerJoinOptions): Promise<BrowserPeer> {
    const page = await browser.join({ ...options, roomOptions: { adaptiveStream: false, dynacast: false } });
    await page.evaluate(() => {
      const { RoomEvent } = window.LivekitClient;
      window.speakers = new Set();
      window.rated = new Set();
      window.room.on(RoomEvent.ActiveSpeakersChanged, (now) => now.forEach((one) => window.speakers.add(one.identity)));
      window.room.on(RoomEvent.ConnectionQualityChanged, (_quality, who) => window.rated.add(who.identity));
    }, undefined);
    return new BrowserPeer(page);
  }

  constructor(page: BrowserClient) {
    this.page = page;
  }

  get identity(): string {
    return this.page.identity;
  }

  async publish(kind: 'audio' | 'video'): Promise<string> {
    return kind === 'audio'
      ? this.page.evaluate(async () => window.kit.publishTone(), undefined)
      : this.page.publishCamera({ width: 320, height: 180, fps: 15 });
  }

  async unpublish(trackSid: string): Promise<void> {
    await this.page.unpublish(trackSid);
  }

  async published(): Promise<string[]> {
    return this.page.evaluate(
      () => [...window.room.localParticipant.trackPublications.values()].map(({ trackSid }) => trackSid),
      undefined,
    );
  }

  /** Mutes as an application does: by the client itself. */
  async setMuted(trackSid: string, muted: boolean): Promise<void> {
    await this.page.evaluate(
      async ({ sid, mute }) => {
        const publication = window.kit.localPublication(sid);
        await (mute ? publication?.mute() : publication?.unmute());
      },
      { sid: trackSid, mute: muted },
    );
  }

  async setSubscribed(_publisher: string, trackSid: string, subscribed: boolean): Promise<void> {
    await this.page.evaluate(({ sid, wanted }) => window.kit.findPublication(sid)?.setSubscribed(wanted), {
      sid: trackSid,
      wanted: subscribed,
    });
  }

  async waitForPicture(trackSid: string): Promise<void> {
    await until(
      async () => ((await this.page.lookAt(trackSid)) ? '' : `${this.identity} does not receive ${trackSid}`),
      { timeoutMs: 15_000, intervalMs: 50 },
    );
    const before = await this.page.lookAt(trackSid);
    await this.page.waitForPicture(trackSid, { frames: (before?.framesDecoded ?? 0) + 5 });
  }

  async waitForStill(trackSid: string): Promise<void> {
    const watch = stillness();
    await until(async () => {
      const frames = (await this.page.lookAt(trackSid))?.framesDecoded ?? 0;
      return watch(frames) ? '' : `${this.identity} still sees ${trackSid}: ${frames} frames`;
    });
  }

  async waitForSound(trackSid: string): Promise<void> {
    await this.page.waitForSound(trackSid);
  }

  async waitForSilence(trackSid: string): Promise<void> {
    await until(async () => {
      const peak = await this.page.audioPeak(trackSid, 400, 0.005);
      return peak < 0.005 ? '' : `${this.identity} still hears ${trackSid} with a peak of ${peak}`;
    });
  }

  async waitForSubscriber(trackSid: string): Promise<void> {
    await until(async () => {
      const told = await this.page.evaluate(() => window.subscribed, undefined);
      return told.includes(trackSid) ? '' : `${this.identity} was told of subscribers of ${told.join()}`;
    });
  }

  async see(identity: string): Promise<PeerView | undefined> {
    return this.page.evaluate((wanted) => {
      const found = window.room.remoteParticipants.get(wanted);
      if (!found) return undefined;
      const { sid, name = '', metadata = '', attributes } = found;
      const tracks = [...found.trackPublications.values()].map((publication) => ({
        sid: publication.trackSid,
        muted: publication.isMuted,
        subscribed: publication.track !== undefined,
      }));
      return { sid, name, metadata, attributes: { ...attributes }, tracks };
    }, identity);
  }

  async others(): Promise<string[]> {
    return this.page.evaluate(() => [...window.room.remoteParticipants.keys()], undefined);
  }

  async speakers(): Promise<string[]> {
    return this.page.evaluate(
      () => [...window.speakers, ...window.room.activeSpeakers.map(({ identity }) => identity)],
      undefined,
    );
  }

  async rated(): Promise<string[]> {
    return this.page.evaluate(() => [...window.rated], undefined);
  }

  async sendData(text: string, target: DataTarget): Promise<void> {
    await this.page.evaluate(
      async ({ message, reliable, topic, to }) =>
        window.room.localParticipant.publishData(new TextEncoder().encode(message), {
          reliable,
          topic,
          ...(to === undefined ? {} : { destinationIdentities: to }),
        }),
      { message: text, ...target },
    );
  }

  async packets(): Promise<PeerPacket[]> {
    const packets = await this.page.packets();
    return packets.map(({ text, topic, from, kind }) => ({ text, topic, from, reliable: kind === 0 }));
  }

  async sendText(text: string, options: { topic: string; attributes?: Record<string, string> }): Promise<void> {
    await this.page.evaluate(
      async ({ message, how }) => {
        await window.room.localParticipant.sendText(message, how);
      },
      { message: text, how: options },
    );
  }

  async sendBytes(bytes: Uint8Array, options: { topic: string; name: string }): Promise<void> {
    await this.page.evaluate(
      async ({ base64, how }) => {
        const content = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        const writer = await window.room.localParticipant.streamBytes({ ...how, totalSize: content.length });
        await writer.write(content);
        await writer.close();
      },
      { base64: Buffer.from(bytes).toString('base64'), how: options },
    );
  }

  async receiveStreams(topic: string): Promise<void> {
    await this.page.evaluate((wanted) => window.kit.receiveStreams(wanted), topic);
  }

  async streams(): Promise<ReceivedStream[]> {
    return this.page.evaluate(() => window.streams, undefined);
  }

  async answerRpc(method: string): Promise<void> {
    await this.page.evaluate((name) => {
      window.room.registerRpcMethod(name, ({ payload }) => {
        if (payload === 'fail') throw new window.LivekitClient.RpcError(1234, 'as asked');
        return Promise.resolve(payload.toUpperCase());
      });
    }, method);
  }

  async callRpc(call: RpcCall): Promise<RpcOutcome> {
    return this.page.evaluate(async ({ to, method, payload }) => {
      try {
        const answer = await window.room.localParticipant.performRpc({ destinationIdentity: to, method, payload });
        return { answer };
      } catch (error) {
        const { code = 0, message } = error as { code?: number; message: string };
        return { errorCode: code, message };
      }
    }, call);
  }

  async setMetadata(metadata: string): Promise<void> {
    await this.page.evaluate(async (value) => window.room.localParticipant.setMetadata(value), metadata);
  }

  async setAttributes(attributes: Record<string, string>): Promise<void> {
    await this.page.evaluate(async (values) => window.room.localParticipant.setAttributes(values), attributes);
  }

  async disconnectReason(): Promise<number | undefined> {
    return this.page.evaluate(() => window.disconnectReason, undefined);
  }

  async close(): Promise<void> {
    await this.page.close();
  }
}
