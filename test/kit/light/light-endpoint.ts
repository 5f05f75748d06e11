import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { withDeadline } from '../until.ts';
import { lightEndpointBinary } from './build.ts';
import { LightPeer, type PeerOptions } from './light-peer.ts';
import { formatCommand, parseEvent, type EndpointEvent, type Fields } from './wire.ts';

export type EndpointUsage = { cpuMs: number; rssBytes: number; peers: number };

/** Milliseconds between the sending of a stamped packet and its arrival; NaN without samples. */
export type Delays = { count: number; meanMs: number; p50Ms: number; p95Ms: number; p99Ms: number; maxMs: number };

/** All peers of the endpoint together. Counters run on; what concerns the last reset says so. */
export type EndpointTotals = {
  /** Announced ones of audio and video. */
  streams: number;
  /** Of these, those that brought a packet since the last reset. */
  heard: number;
  packets: number;
  bytes: number;
  /** Not received in the stream itself; `recovered` of them came as repeats. */
  lost: number;
  recovered: number;
  givenUp: number;
  /** Packets of RTX streams. */
  repeats: number;
  /** Key frames that brought another picture size. */
  sizeChanges: number;
  unknownPackets: number;
  sentPackets: number;
  messages: number;
  messageBytes: number;
  /** Since the last reset. */
  nacks: number;
  keyFrameRequests: number;
  mediaDelay: Delays;
  dataDelay: Delays;
  /** From the notice of a loss to the repeat. */
  repair: Delays;
};

export type EndpointOptions = {
  /** OpenSSL names, best first; default: AEAD 256, AEAD 128, AES-CM. */
  srtpProfiles?: string[];
};

type EndpointProcess = ChildProcessByStdio<Writable, Readable, null>;

/** One process of the light endpoint, which carries many peer connections. */
export class LightEndpoint {
  readonly #process: EndpointProcess;
  readonly #peers = new Map<number, LightPeer>();
  readonly #answers = new Map<number, (event: EndpointEvent) => void>();
  readonly #exited: Promise<unknown>;
  #delays = new Map<string, Delays>();
  #traces = 0;
  #nextPeerId = 1;
  #nextToken = 1;
  #rest = '';
  #outgoing = '';
  #closing = false;
  #fingerprint = '';
  #failure: Error | undefined;

  static async start(options: EndpointOptions = {}): Promise<LightEndpoint> {
    const binary = await lightEndpointBinary();
    const profiles = options.srtpProfiles === undefined ? [] : [options.srtpProfiles.join(':')];
    const child = spawn(binary, profiles, { stdio: ['pipe', 'pipe', 'inherit'] });
    const endpoint = new LightEndpoint(child);
    await withDeadline(endpoint.#hello.promise, 'greeting of the light endpoint', 20_000);
    return endpoint;
  }

  readonly #hello = Promise.withResolvers<void>();

  private constructor(child: EndpointProcess) {
    this.#process = child;
    this.#exited = once(child, 'exit');
    child.stdout.setEncoding('latin1');
    child.stdout.on('data', (chunk: string) => this.#read(chunk));
    child.stdin.on('error', () => {});
    child.on('exit', (code, signal) => this.#processEnded(`exit code ${code}, signal ${signal}`));
    child.on('error', (error) => this.#processEnded(error.message));
  }

  /** SHA-256 fingerprint of the process's certificate, as SDP writes it. */
  get fingerprint(): string {
    return this.#fingerprint;
  }

  get peerCount(): number {
    return this.#peers.size;
  }

  open(options: PeerOptions): LightPeer {
    const id = this.#nextPeerId++;
    const peer = new LightPeer({
      id,
      options,
      command: (verb, fields) => this.#command(verb, id, fields),
      ask: (verb, fields) => this.#ask(verb, id, fields),
      forget: () => this.#peers.delete(id),
    });
    this.#peers.set(id, peer);
    return peer;
  }

  async usage(): Promise<EndpointUsage> {
    const answer = await withDeadline(this.#ask('usage', 0, {}).answer, 'usage of the light endpoint', 5000);
    return {
      cpuMs: answer.number('cpu_us') / 1000,
      rssBytes: answer.number('rss_bytes'),
      peers: answer.number('peers'),
    };
  }

  /** @param options.reset start delays and the other measurements "since the last reset" anew. */
  async totals(options: { reset?: boolean } = {}): Promise<EndpointTotals> {
    const asked = this.#ask('totals', 0, { reset: options.reset });
    return this.#toTotals(await withDeadline(asked.answer, 'totals of the light endpoint', 20_000));
  }

  /** @param frameBytes sizes of encoded frames. @returns the number by which streams name it. */
  addTrace(frameBytes: readonly number[]): number {
    this.#traces += 1;
    this.#command('trace', this.#traces, { sizes: frameBytes.join(',') });
    return this.#traces;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Ends the process and with it every peer. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#process.stdin.end();
    await withDeadline(this.#exited, 'end of the light endpoint', 5000).catch(() => this.#process.kill('SIGKILL'));
  }

  #ask(verb: string, peerId: number, fields: Fields): { answer: Promise<EndpointEvent>; cancel: () => void } {
    const token = this.#nextToken++;
    const { promise, resolve } = Promise.withResolvers<EndpointEvent>();
    this.#answers.set(token, resolve);
    this.#command(verb, peerId, { ...fields, token });
    return { answer: promise, cancel: () => void this.#answers.delete(token) };
  }

  /** Lines of one turn of Node's loop go out in one write. */
  #command(verb: string, peerId: number, fields: Fields): void {
    if (this.#failure) throw this.#failure;
    if (this.#closing) return;
    if (this.#outgoing === '') setImmediate(() => this.#flush());
    this.#outgoing += formatCommand(verb, peerId, fields);
  }

  #flush(): void {
    const lines = this.#outgoing;
    this.#outgoing = '';
    if (this.#process.stdin.writable) this.#process.stdin.write(lines, 'latin1');
  }

  #read(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#dispatch(parseEvent(line));
  }

  #dispatch(event: EndpointEvent): void {
    if (event.verb === 'hello') {
      this.#fingerprint = event.text('fingerprint');
      this.#hello.resolve();
      return;
    }
    if (event.verb === 'delay') {
      this.#delays.set(event.text('what'), toDelays(event));
      return;
    }
    const peer = this.#peers.get(event.peerId);
    if (event.verb === 'stream' || event.verb === 'sent') {
      peer?.collect(event);
      return;
    }
    const token = event.number('token');
    if (token !== 0) {
      this.#answers.get(token)?.(event);
      this.#answers.delete(token);
      return;
    }
    peer?.handle(event);
  }

  #toTotals(event: EndpointEvent): EndpointTotals {
    const delays = (what: string): Delays => {
      const found = this.#delays.get(what);
      if (!found) throw new Error(`the light endpoint told no delays of ${what}`);
      return found;
    };
    return {
      streams: event.number('streams'),
      heard: event.number('heard'),
      packets: event.number('packets'),
      bytes: event.number('bytes'),
      lost: event.number('lost'),
      recovered: event.number('recovered'),
      givenUp: event.number('given_up'),
      repeats: event.number('repeats'),
      sizeChanges: event.number('size_changes'),
      unknownPackets: event.number('unknown'),
      sentPackets: event.number('sent'),
      messages: event.number('messages'),
      messageBytes: event.number('message_bytes'),
      nacks: event.number('nacks'),
      keyFrameRequests: event.number('plis'),
      mediaDelay: delays('media'),
      dataDelay: delays('data'),
      repair: delays('repair'),
    };
  }

  #processEnded(why: string): void {
    if (this.#closing) return;
    this.#failure = new Error(`the light endpoint ended: ${why}`);
    this.#hello.reject(this.#failure);
    for (const peer of this.#peers.values()) peer.endpointDied();
  }
}

function toDelays(event: EndpointEvent): Delays {
  const count = event.number('count');
  const ms = (key: string): number => (count === 0 ? Number.NaN : event.number(key) / 1000);
  return {
    count,
    meanMs: ms('mean_us'),
    p50Ms: ms('p50_us'),
    p95Ms: ms('p95_us'),
    p99Ms: ms('p99_us'),
    maxMs: ms('max_us'),
  };
}
