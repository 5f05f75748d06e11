import { chromium, type Browser, type Page } from 'playwright-core';
import type { DtlsFingerprint, DtlsRole, LocalTransport } from '../../src/sdp/rtp.ts';

export type ReceivedSummary = {
  count: number;
  /** Message numbers in order of arrival (first four bytes, big-endian), and how old each was by its send time. */
  numbers: number[];
  agesMs: number[];
  bytes: number;
};

export type RemoteEnd = { role: DtlsRole; fingerprints: DtlsFingerprint[] };

/** What of the browser's API runs here; the DOM's types would spread to all code that is checked with this file. */
type BrowserChannel = {
  readonly label: string;
  readonly readyState: string;
  readonly id: number | null;
  readonly ordered: boolean;
  binaryType: string;
  send(message: Uint8Array): void;
  addEventListener(name: 'message', listener: (event: { data: ArrayBuffer }) => void): void;
};
type BrowserConnection = {
  readonly localDescription: { sdp: string } | null;
  createDataChannel(label: string, options: { ordered?: boolean; maxRetransmits?: number }): BrowserChannel;
  setLocalDescription(): Promise<void>;
  setRemoteDescription(description: { type: 'offer' | 'answer'; sdp: string }): Promise<void>;
  addEventListener(name: 'datachannel', listener: (event: { channel: BrowserChannel }) => void): void;
  close(): void;
};
type PageChannel = { channel: BrowserChannel; numbers: number[]; agesMs: number[]; bytes: number };
type PagePeer = { connection: BrowserConnection; channels: Map<string, PageChannel> };
type PageWindow = {
  RTCPeerConnection: new () => BrowserConnection;
  peers: Map<string, PagePeer>;
  watch(peer: PagePeer, channel: BrowserChannel): void;
};

/** Raw peer connections in a headless Chromium: a real SCTP peer without any signalling of LiveKit's. */
export class DataPage {
  readonly #browser: Browser;
  readonly #page: Page;

  private constructor(browser: Browser, page: Page) {
    this.#browser = browser;
    this.#page = page;
  }

  static async start(): Promise<DataPage> {
    const browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-features=WebRtcHideLocalIpsWithMdns', '--allow-loopback-in-peer-connection'],
    });
    const page = await browser.newPage();
    await page.evaluate(setUpPage);
    return new DataPage(browser, page);
  }

  /** The client's side of a publisher connection: it makes the channels and offers. */
  async offer(peer: string, labels: readonly { label: string; lossy: boolean }[]): Promise<RemoteEnd> {
    const sdp = await this.#page.evaluate(
      async ([name, channels]) => {
        const { peers, watch, RTCPeerConnection } = globalThis as unknown as PageWindow;
        const entry: PagePeer = { connection: new RTCPeerConnection(), channels: new Map() };
        peers.set(name, entry);
        for (const { label, lossy } of channels) {
          watch(entry, entry.connection.createDataChannel(label, lossy ? { ordered: false, maxRetransmits: 0 } : {}));
        }
        await entry.connection.setLocalDescription();
        return entry.connection.localDescription?.sdp ?? '';
      },
      [peer, labels] as const,
    );
    return { role: 'client', fingerprints: fingerprintsOf(sdp) };
  }

  async acceptAnswer(peer: string, local: LocalTransport): Promise<void> {
    await this.#page.evaluate(
      async ([name, sdp]) => {
        const { peers } = globalThis as unknown as PageWindow;
        await peers.get(name)?.connection.setRemoteDescription({ type: 'answer', sdp });
      },
      [peer, describe(local, 'passive')] as const,
    );
  }

  /** The client's side of a subscriber connection: the server offers and opens the channels. */
  async answer(peer: string, local: LocalTransport): Promise<RemoteEnd> {
    const sdp = await this.#page.evaluate(
      async ([name, offer]) => {
        const { peers, watch, RTCPeerConnection } = globalThis as unknown as PageWindow;
        const entry: PagePeer = { connection: new RTCPeerConnection(), channels: new Map() };
        peers.set(name, entry);
        entry.connection.addEventListener('datachannel', (event) => watch(entry, event.channel));
        await entry.connection.setRemoteDescription({ type: 'offer', sdp: offer });
        await entry.connection.setLocalDescription();
        return entry.connection.localDescription?.sdp ?? '';
      },
      [peer, describe(local, 'actpass')] as const,
    );
    return { role: /a=setup:active/.test(sdp) ? 'client' : 'server', fingerprints: fingerprintsOf(sdp) };
  }

  async send(peer: string, label: string, messages: { count: number; sizeBytes: number }): Promise<void> {
    await this.#page.evaluate(
      ([name, channelLabel, { count, sizeBytes }]) => {
        const entry = (globalThis as unknown as PageWindow).peers.get(name)?.channels.get(channelLabel);
        for (let number = 0; number < count; number += 1) {
          const message = new Uint8Array(sizeBytes);
          new DataView(message.buffer).setUint32(0, number);
          entry?.channel.send(message);
        }
      },
      [peer, label, messages] as const,
    );
  }

  /** What the channels of a peer look like: label to state and id. */
  channels(peer: string): Promise<Record<string, { state: string; id: number | null; ordered: boolean }>> {
    return this.#page.evaluate((name) => {
      const entries = (globalThis as unknown as PageWindow).peers.get(name)?.channels ?? new Map<string, PageChannel>();
      return Object.fromEntries(
        [...entries].map(([label, { channel }]) => [
          label,
          { state: channel.readyState, id: channel.id, ordered: channel.ordered },
        ]),
      );
    }, peer);
  }

  received(peer: string, label: string): Promise<ReceivedSummary> {
    return this.#page.evaluate(
      ([name, channelLabel]) => {
        const entry = (globalThis as unknown as PageWindow).peers.get(name)?.channels.get(channelLabel);
        const { numbers = [], agesMs = [], bytes = 0 } = entry ?? {};
        return { count: numbers.length, numbers, agesMs, bytes };
      },
      [peer, label] as const,
    );
  }

  receivedCount(peer: string, label: string): Promise<number> {
    return this.#page.evaluate(
      ([name, channelLabel]) =>
        (globalThis as unknown as PageWindow).peers.get(name)?.channels.get(channelLabel)?.numbers.length ?? 0,
      [peer, label] as const,
    );
  }

  async closePeer(peer: string): Promise<void> {
    await this.#page.evaluate((name) => {
      (globalThis as unknown as PageWindow).peers.get(name)?.connection.close();
    }, peer);
  }

  async close(): Promise<void> {
    await this.#browser.close();
  }
}

/** A message that the page understands: its number, the time of sending, padding. */
export function numberedMessage(number: number, sizeBytes: number): Uint8Array {
  const message = Buffer.alloc(sizeBytes);
  message.writeUInt32BE(number, 0);
  message.writeDoubleBE(Date.now(), 4);
  return message;
}

function setUpPage(): void {
  const target = globalThis as unknown as PageWindow;
  target.peers = new Map();
  target.watch = (peer, channel) => {
    const entry: PageChannel = { channel, numbers: [], agesMs: [], bytes: 0 };
    peer.channels.set(channel.label, entry);
    channel.binaryType = 'arraybuffer';
    channel.addEventListener('message', (event) => {
      const view = new DataView(event.data);
      entry.bytes += view.byteLength;
      entry.numbers.push(view.byteLength >= 4 ? view.getUint32(0) : -1);
      if (view.byteLength >= 12) {
        entry.agesMs.push(Date.now() - view.getFloat64(4));
      }
    });
  };
}

function fingerprintsOf(sdp: string): DtlsFingerprint[] {
  const value = /^a=fingerprint:sha-256 (\S+)/m.exec(sdp)?.[1];
  if (value === undefined) {
    throw new Error('the browser gave no sha-256 fingerprint');
  }
  return [{ algorithm: 'sha-256', value }];
}

function describe(local: LocalTransport, setup: 'passive' | 'actpass'): string {
  const candidates = local.candidates.map(
    (entry) =>
      `a=candidate:${entry.foundation} 1 ${entry.protocol} ${entry.priority} ${entry.address} ${entry.port} typ host` +
      (entry.tcpType === undefined ? '' : ` tcptype ${entry.tcpType}`),
  );
  return [
    'v=0',
    'o=- 1 1 IN IP4 0.0.0.0',
    's=-',
    't=0 0',
    'a=ice-lite',
    'a=group:BUNDLE 0',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    'a=mid:0',
    `a=ice-ufrag:${local.ice.usernameFragment}`,
    `a=ice-pwd:${local.ice.password}`,
    `a=fingerprint:${local.fingerprint.algorithm} ${local.fingerprint.value}`,
    `a=setup:${setup}`,
    `a=sctp-port:${local.sctpPort}`,
    `a=max-message-size:${local.maxMessageSize}`,
    ...candidates,
    'a=end-of-candidates',
    '',
  ].join('\r\n');
}
