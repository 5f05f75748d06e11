/** What a scenario asks of a client, so that it is written once and played by every pair of clients. */
import { createHash } from 'node:crypto';
import type { ReceivedStream } from './browser.ts';
import type { TokenOptions } from './tokens.ts';

export type PeerPacket = { text: string; topic: string; from: string; reliable: boolean };

/** One participant as another sees it. */
export type PeerView = {
  sid: string;
  name: string;
  metadata: string;
  attributes: Record<string, string>;
  tracks: { sid: string; muted: boolean; subscribed: boolean }[];
};

export type DataTarget = { reliable: boolean; topic: string; to?: string[] };

export type RpcCall = { to: string; method: string; payload: string };
/** What the other end answered, or the code of the error that came instead. */
export type RpcOutcome = { answer: string } | { errorCode: number; message: string };

/** A real client in a room. Everything that waits has a deadline and says what it missed. */
export interface Peer {
  readonly client: 'rtc-node' | 'browser';
  readonly identity: string;
  /** @returns track sid */
  publish(kind: 'audio' | 'video'): Promise<string>;
  unpublish(trackSid: string): Promise<void>;
  /** Tracks that it still publishes. */
  published(): Promise<string[]>;
  setMuted(trackSid: string, muted: boolean): Promise<void>;
  setSubscribed(publisher: string, trackSid: string, subscribed: boolean): Promise<void>;
  /** Waits until new frames of this video are decoded and not black. */
  waitForPicture(trackSid: string): Promise<void>;
  /** Waits until no frame of this video has been decoded for a while. */
  waitForStill(trackSid: string): Promise<void>;
  waitForSound(trackSid: string): Promise<void>;
  /** Waits until nothing is heard of this track any more. */
  waitForSilence(trackSid: string): Promise<void>;
  /** Waits until the client says that somebody receives its track. */
  waitForSubscriber(trackSid: string): Promise<void>;
  /** Undefined while it does not know the other. */
  see(identity: string): Promise<PeerView | undefined>;
  /** Identities of the others that it knows of. */
  others(): Promise<string[]>;
  /** Those that it counted as speaking at any time so far. */
  speakers(): Promise<string[]>;
  /** Participants whose connection quality it was told. */
  rated(): Promise<string[]>;
  sendData(text: string, target: DataTarget): Promise<void>;
  packets(): Promise<PeerPacket[]>;
  sendText(text: string, options: { topic: string; attributes?: Record<string, string> }): Promise<void>;
  sendBytes(bytes: Uint8Array, options: { topic: string; name: string }): Promise<void>;
  /** Streams of these topics are kept from now on. */
  receiveStreams(topic: string): Promise<void>;
  streams(): Promise<ReceivedStream[]>;
  /** Answers calls of `method` with the payload in capitals; the payload `fail` with the application error 1234. */
  answerRpc(method: string): Promise<void>;
  callRpc(call: RpcCall): Promise<RpcOutcome>;
  setMetadata(metadata: string): Promise<void>;
  setAttributes(attributes: Record<string, string>): Promise<void>;
  /** LiveKit's DisconnectReason once it is out of the room. */
  disconnectReason(): Promise<number | undefined>;
  close(): Promise<void>;
}

export type PeerJoinOptions = TokenOptions & { url: string };

/** As the clients report received bytes. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** @returns a function that takes a counter and says whether it has stood still for half a second */
export function stillness(): (count: number) => boolean {
  let last = -1;
  let sinceMs = 0;
  return (count) => {
    if (count !== last) {
      last = count;
      sinceMs = performance.now();
    }
    return performance.now() - sinceMs > 500;
  };
}
