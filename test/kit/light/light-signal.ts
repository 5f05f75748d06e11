import { once } from 'node:events';
import { Ping, SignalRequest, SignalResponse } from '@livekit/protocol';
import { WebSocket } from 'ws';
import { withDeadline } from '../until.ts';

export type SignalMessage = NonNullable<SignalResponse['message']>;

/** The server answered the upgrade with an HTTP status. */
export class JoinRefused extends Error {
  readonly status: number;
  readonly body: string;

  constructor(status: number, body: string) {
    super(`the server refused the socket: ${status} ${body}`);
    this.status = status;
    this.body = body;
  }
}

export type SignalOptions = {
  url: string;
  token: string;
  /** Query parameters beside the token. */
  query: Record<string, string>;
  timeoutMs: number;
  /** Authority to trust for `wss://`, and the name that is expected. */
  tls?: { ca: string; servername: string };
  /** Leave out what only shows others: participant updates, speakers, quality. */
  crowd?: boolean;
  onMessage: (message: SignalMessage) => void;
  onClose: (code: number) => void;
};

/**
 * One signal socket: opens it, waits for its first message, keeps it alive. Messages that come right behind the first one
 * are held back until `start`, so that the owner has taken the first and can answer.
 */
export class LightSignal {
  readonly #socket: WebSocket;
  readonly #options: SignalOptions;
  readonly #first = Promise.withResolvers<SignalMessage>();
  readonly #early: SignalMessage[] = [];
  #openedAtMs = 0;
  /** From the opening of the socket to its first message. */
  firstMessageDelayMs = Number.NaN;
  /** All frames that came, those that were left out too. */
  readonly received = { messages: 0, bytes: 0 };
  #started = false;
  #closeCode: number | undefined;
  #pings: NodeJS.Timeout | undefined;

  /** @returns the socket and its first message; later ones go to `onMessage`. @throws JoinRefused */
  static async open(options: SignalOptions): Promise<{ signal: LightSignal; first: SignalMessage }> {
    const query = new URLSearchParams({ access_token: options.token, ...options.query });
    const socket = new WebSocket(`${options.url.replace(/^http/, 'ws')}/rtc?${query.toString()}`, {
      perMessageDeflate: false,
      ...options.tls,
    });
    const signal = new LightSignal(socket, options);
    try {
      return {
        signal,
        first: await withDeadline(signal.#first.promise, 'first message of the signal socket', options.timeoutMs),
      };
    } catch (error) {
      socket.terminate();
      throw error;
    }
  }

  private constructor(socket: WebSocket, options: SignalOptions) {
    this.#socket = socket;
    this.#options = options;
    let awaitsFirst = true;
    socket.on('open', () => {
      this.#openedAtMs = performance.now();
    });
    socket.on('message', (data: Buffer, binary) => {
      if (awaitsFirst) this.firstMessageDelayMs = performance.now() - this.#openedAtMs;
      this.received.messages += 1;
      this.received.bytes += data.length;
      if (options.crowd && binary && !awaitsFirst && isForShow(data)) return;
      const frame = options.crowd && binary && awaitsFirst ? withoutOthers(data) : data;
      const { message } = binary ? SignalResponse.fromBinary(frame) : SignalResponse.fromJsonString(data.toString());
      if (message.case === undefined) return;
      if (awaitsFirst) this.#first.resolve(message);
      else if (this.#started) options.onMessage(message);
      else this.#early.push(message);
      awaitsFirst = false;
    });
    socket.on('unexpected-response', (_request, response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => this.#first.reject(new JoinRefused(response.statusCode ?? 0, body)));
    });
    socket.on('error', (error) => this.#first.reject(error));
    socket.on('close', (code) => {
      clearInterval(this.#pings);
      this.#first.reject(new Error(`the signal socket closed with ${code}`));
      this.#closeCode = code;
      if (this.#started) options.onClose(code);
    });
  }

  get open(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  send(message: SignalRequest['message']): void {
    if (this.open) this.#socket.send(new SignalRequest({ message }).toBinary());
  }

  /** Sends a frame as it is: what no client would send. */
  sendFrame(frame: Uint8Array | string): void {
    this.#socket.send(frame);
  }

  /** Hands over what was held back, and pings as clients do, both kinds. */
  start(pingIntervalS: number): void {
    this.#started = true;
    for (const message of this.#early.splice(0)) this.#options.onMessage(message);
    if (this.#closeCode !== undefined) this.#options.onClose(this.#closeCode);
    else if (pingIntervalS > 0) this.#keepAlive(pingIntervalS);
  }

  #keepAlive(intervalS: number): void {
    this.#pings = setInterval(() => {
      const timestamp = BigInt(Date.now());
      this.send({ case: 'ping', value: timestamp });
      this.send({ case: 'pingReq', value: new Ping({ timestamp, rtt: 0n }) });
    }, intervalS * 1000).unref();
  }

  /** Breaks the connection as a lost network would. */
  cut(): void {
    this.#socket.terminate();
  }

  async close(): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const closed = once(this.#socket, 'close');
    this.#socket.close(1000);
    await withDeadline(closed, 'close of the signal socket', 2000).catch(() => this.#socket.terminate());
  }
}

/** Tags of `update`, `speakers_changed`, `room_update` and `connection_quality` in a SignalResponse. */
const forShow: readonly number[] = [5, 10, 11, 12].map((field) => (field << 3) | 2);

function isForShow(frame: Buffer): boolean {
  return forShow.includes(frame[0] ?? 0);
}

const joinTag = (1 << 3) | 2;
const otherParticipantsTag = (3 << 3) | 2;

/** The `join` of a SignalResponse without its `other_participants`, which take longer to read than all the rest. */
function withoutOthers(frame: Buffer): Buffer {
  if (frame[0] !== joinTag) return frame;
  const parts: Buffer[] = [];
  let at = readVarint(frame, 1).next;
  while (at < frame.length) {
    const start = at;
    const tag = readVarint(frame, at);
    at = endOfField(frame, tag);
    if (tag.value !== otherParticipantsTag) parts.push(frame.subarray(start, at));
  }
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([joinTag]), writeVarint(body.length), body]);
}

function endOfField(frame: Buffer, tag: { value: number; next: number }): number {
  const { value, next } = readVarint(frame, tag.next);
  switch (tag.value & 7) {
    case 0:
      return next;
    case 1:
      return tag.next + 8;
    case 2:
      return next + value;
    case 5:
      return tag.next + 4;
    default:
      throw new Error(`wire type ${tag.value & 7} in a message of the server`);
  }
}

function readVarint(frame: Buffer, start: number): { value: number; next: number } {
  let value = 0;
  let scale = 1;
  for (let at = start; at < frame.length; at += 1, scale *= 128) {
    const byte = frame[at] ?? 0;
    value += (byte & 127) * scale;
    if (byte < 128) return { value, next: at + 1 };
  }
  throw new Error('a message of the server ends within a number');
}

function writeVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}
