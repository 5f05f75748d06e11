/** Helpers around headless Chromium with the real livekit-client: join, publish fake media, look at what is played. */
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import path from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import type * as LiveKit from 'livekit-client';
import { joinToken, type TokenOptions } from './tokens.ts';
import { until } from './until.ts';

const executablePath = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';

const flags = [
  '--no-sandbox',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  // Pages in the background would otherwise be throttled, and only one page of a browser is in front.
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  // Tests must not depend on, or speak to, anything outside the machine.
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--no-first-run',
  // Loopback candidates with plain addresses, so that a machine without a network works too.
  '--disable-features=WebRtcHideLocalIpsWithMdns,MediaRouter',
];

export type ReceivedPacket = {
  /** Empty when longer than 4 kB. */ text: string;
  sizeBytes: number;
  topic: string;
  from: string;
  kind: number;
};

/** A text or byte stream that arrived whole. */
export type ReceivedStream = {
  kind: 'text' | 'bytes';
  topic: string;
  from: string;
  /** Of a byte stream. */
  name: string;
  attributes: Record<string, string>;
  /** The text, or the SHA-256 of the bytes in hexadecimal. */
  text: string;
  sizeBytes: number;
};

export type SentEncoding = { rid: string; active: boolean; scalabilityMode: string; maxBitrate: number };

/** What browser-page.js puts on `window`. */
export type PageWindow = {
  LivekitClient: typeof LiveKit;
  room: LiveKit.Room;
  /** Names of room events in order of arrival. */
  events: string[];
  packets: ReceivedPacket[];
  streams: ReceivedStream[];
  /** Sids of own tracks that somebody received (LocalTrackSubscribed). */
  subscribed: string[];
  /** Received tracks that congestion control stopped and started again, in order, as `paused TR_…` and `active TR_…`. */
  streamStates: string[];
  /** livekit-client's DisconnectReason once the room is disconnected. */
  disconnectReason: number | undefined;
  kit: {
    connect(url: string, token: string, roomOptions: object, connectOptions: object): Promise<void>;
    reroute(from: number, to: number): void;
    publishCamera(options: CameraOptions): Promise<string>;
    publishMicrophone(options?: LiveKit.TrackPublishOptions): Promise<string>;
    publishTone(): Promise<string>;
    publishScreen(): Promise<string>;
    unpublish(trackSid: string): Promise<void>;
    localPublication(trackSid: string): LiveKit.LocalTrackPublication | undefined;
    findPublication(trackSid: string): LiveKit.RemoteTrackPublication | undefined;
    encodings(trackSid: string): SentEncoding[];
    receiveStreams(topic: string): void;
    resizeElement(trackSid: string, width: number, height: number): void;
    lookAt(trackSid: string): Promise<VideoLook | undefined>;
    audioPeak(trackSid: string, windowMs: number, enough?: number): Promise<number>;
    soundStats(trackSid: string): Promise<object>;
    watchGaps(trackSid: string): void;
    gapOf(trackSid: string): number;
  };
};
/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow;

export type BrowserJoinOptions = TokenOptions & {
  url: string;
  /** LiveKit's RoomOptions, as far as they are plain data. */
  roomOptions?: Partial<LiveKit.RoomOptions>;
  connectOptions?: LiveKit.RoomConnectOptions;
  /** The server's media port and the one that the page is to use instead. */
  reroute?: { from: number; to: number };
};

export type CameraOptions = {
  codec?: 'vp8' | 'h264' | 'vp9' | 'av1';
  width?: number;
  height?: number;
  fps?: number;
  simulcast?: boolean;
  scalabilityMode?: LiveKit.ScalabilityMode;
  /** VP8, sent when a subscriber needs it; the publisher's room has to use dynacast. */
  backupCodec?: boolean;
  /** Simulcast layers below the full picture, small to large; without them livekit-client chooses. */
  layers?: { width: number; height: number; bitrateBps: number; fps: number }[];
};

export type VideoLook = {
  framesDecoded: number;
  frameWidth: number;
  frameHeight: number;
  freezeCount: number;
  pliCount: number;
  packetsLost: number;
  codec: string;
  /** Share of pixels of the picture on screen that are not black, 0–1. */
  visible: number;
};

/** One Chromium process; its pages are participants. */
export class TestBrowser {
  readonly #browser: Browser;
  readonly #server: Server;
  readonly #origin: string;

  static async start(extraFlags: string[] = []): Promise<TestBrowser> {
    const server = await servePage();
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const browser = await chromium.launch({ executablePath, headless: true, args: [...flags, ...extraFlags] });
    return new TestBrowser(browser, server, `http://localhost:${port}`);
  }

  private constructor(browser: Browser, server: Server, origin: string) {
    this.#browser = browser;
    this.#server = server;
    this.#origin = origin;
  }

  /** An empty page of its own context, for other pages such as the meeting page. */
  async newPage(): Promise<Page> {
    const context = await this.#browser.newContext({ permissions: ['camera', 'microphone'] });
    return context.newPage();
  }

  /** A page with livekit-client that has joined a room. */
  async join(options: BrowserJoinOptions): Promise<BrowserClient> {
    const page = await this.newPage();
    await page.goto(this.#origin);
    const client = new BrowserClient(page, options.identity);
    if (options.reroute !== undefined) {
      await client.evaluate(({ from, to }) => window.kit.reroute(from, to), options.reroute);
    }
    await client.connect(
      options.url,
      await joinToken(options),
      options.roomOptions ?? {},
      options.connectOptions ?? {},
    );
    return client;
  }

  async close(): Promise<void> {
    await this.#browser.close();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** One participant in a page. Further calls of livekit-client go through `evaluate`, where `window.room` is the room. */
export class BrowserClient {
  readonly page: Page;
  readonly identity: string;
  readonly console: string[] = [];

  constructor(page: Page, identity: string) {
    this.page = page;
    this.identity = identity;
    page.on('console', (message) => {
      this.console.push(`${message.type()}: ${message.text()}`);
      if (this.console.length > 500) this.console.shift();
    });
    page.on('pageerror', (error) => void this.console.push(`error: ${error.message}`));
  }

  async connect(url: string, token: string, roomOptions: object, connectOptions: object): Promise<void> {
    await this.page.evaluate(async ([target, jwt, options, how]) => window.kit.connect(target, jwt, options, how), [
      url.replace(/^http/, 'ws'),
      token,
      roomOptions,
      connectOptions,
    ] as const);
  }

  /** Publishes Chromium's fake camera. @returns track sid */
  async publishCamera(options: CameraOptions = {}): Promise<string> {
    return this.page.evaluate(async (wanted) => window.kit.publishCamera(wanted), options);
  }

  /** Publishes Chromium's fake microphone (a beep every second). @returns track sid */
  async publishMicrophone(): Promise<string> {
    return this.page.evaluate(async () => window.kit.publishMicrophone());
  }

  /**
   * Runs code in the page, where `window.room` is the room. The code is turned into text: it sees nothing around it but
   * its argument. Type `window` in the test with `declare const window: PageWindow`.
   */
  async evaluate<Argument, Result>(
    code: (argument: Argument) => Result | Promise<Result>,
    argument: Argument,
  ): Promise<Result> {
    return (await this.page.evaluate(code as (argument: unknown) => unknown, argument)) as Result;
  }

  async events(): Promise<string[]> {
    return this.page.evaluate(() => window.events);
  }

  async packets(): Promise<ReceivedPacket[]> {
    return this.page.evaluate(() => window.packets);
  }

  /** Decoder statistics and the picture of a subscribed video; undefined while the track is not subscribed. */
  async lookAt(trackSid: string): Promise<VideoLook | undefined> {
    return this.page.evaluate(async (sid) => window.kit.lookAt(sid), trackSid);
  }

  /** Waits until a video is decoded and seen. */
  async waitForPicture(trackSid: string, options: { frames?: number; timeoutMs?: number } = {}): Promise<VideoLook> {
    const { frames = 10, timeoutMs = 20_000 } = options;
    let look: VideoLook | undefined;
    await until(
      async () => {
        look = await this.lookAt(trackSid);
        return look && look.framesDecoded >= frames && look.visible > 0.5
          ? ''
          : `${this.identity} sees of ${trackSid}: ${JSON.stringify(look)}`;
      },
      { timeoutMs, intervalMs: 100 },
    );
    if (!look) throw new Error('unreachable');
    return look;
  }

  /** Loudest sample of a subscribed audio track within the next `windowMs`, or the first one above `enough`, 0–1. */
  async audioPeak(trackSid: string, windowMs = 1200, enough = 1): Promise<number> {
    return this.page.evaluate(async ([sid, lengthMs, stopAt]) => window.kit.audioPeak(sid, lengthMs, stopAt), [
      trackSid,
      windowMs,
      enough,
    ] as const);
  }

  /** Measures anew the longest time between two frames that are seen, or two packets of sound. */
  async watchGaps(trackSid: string): Promise<void> {
    await this.page.evaluate((sid) => window.kit.watchGaps(sid), trackSid);
  }

  /** In milliseconds, since `watchGaps`. */
  async gapOf(trackSid: string): Promise<number> {
    return this.page.evaluate((sid) => window.kit.gapOf(sid), trackSid);
  }

  /** Publishes Chromium's fake screen. @returns track sid */
  async publishScreen(): Promise<string> {
    return this.page.evaluate(async () => window.kit.publishScreen());
  }

  async unpublish(trackSid: string): Promise<void> {
    await this.page.evaluate(async (sid) => window.kit.unpublish(sid), trackSid);
  }

  /** What the sender of a published video does with each of its encodings. */
  async encodings(trackSid: string): Promise<SentEncoding[]> {
    return this.page.evaluate((sid) => window.kit.encodings(sid), trackSid);
  }

  async waitForSound(trackSid: string, timeoutMs = 20_000): Promise<void> {
    await until(
      async () => {
        const peak = await this.audioPeak(trackSid, 1200, 0.02);
        if (peak > 0.01) return '';
        const stats = await this.page.evaluate(async (sid) => window.kit.soundStats(sid), trackSid);
        return `${this.identity} hears of ${trackSid} a peak of ${peak}: ${JSON.stringify(stats)}`;
      },
      { timeoutMs },
    );
  }

  async waitForEvent(name: string, timeoutMs = 20_000): Promise<void> {
    await until(
      async () =>
        (await this.events()).includes(name) ? '' : `${this.identity} saw no ${name}: ${(await this.events()).join()}`,
      { timeoutMs },
    );
  }

  async close(): Promise<void> {
    await this.page.evaluate(async () => window.room.disconnect()).catch(() => {});
    await this.page.context().close();
  }
}

/** Browsers give media devices to `localhost` over plain HTTP, not to blank pages. */
async function servePage(): Promise<Server> {
  const client = await readFile(
    path.join(import.meta.dirname, '../../node_modules/livekit-client/dist/livekit-client.umd.js'),
  );
  const kit = await readFile(path.join(import.meta.dirname, 'browser-page.js'));
  const html =
    '<!doctype html><title>kit</title><body></body><script src="/livekit-client.js"></script><script src="/kit.js"></script>';
  const answers: Record<string, { type: string; body: Buffer | string }> = {
    '/livekit-client.js': { type: 'text/javascript', body: client },
    '/kit.js': { type: 'text/javascript', body: kit },
  };
  const server = createServer((request, response) => {
    const { type, body } = answers[request.url ?? ''] ?? { type: 'text/html', body: html };
    response.writeHead(200, { 'content-type': `${type}; charset=utf-8` });
    response.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
