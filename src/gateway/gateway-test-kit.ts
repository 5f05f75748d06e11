/** For tests: a real gateway on a free port with a scripted room host behind a memory link. */
import assert from 'node:assert/strict';
import { JoinResponse, SignalRequest, SignalResponse } from '@livekit/protocol';
import { pino } from 'pino';
import { WebSocket } from 'ws';
import type { HostConnector, RoomDirectory } from '../cluster/directory.ts';
import type { Link } from '../cluster/link.ts';
import { memoryLink } from '../cluster/memory-link.ts';
import { configSchema } from '../config/options.ts';
import { type ConnectionId, nodeId, type ParticipantSid } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway, JoinParameters } from '../protocol/session-messages.ts';
import { signToken } from '../protocol/token.ts';
import { Gateway, type GatewayOptions } from './gateway.ts';
import type { GatewayObserver } from './observer.ts';
import { createTokenVerifier } from './token-verifier.ts';

/** Polls until the condition gives something; tests wait on facts, not on time. */
export async function until<Value>(
  what: string,
  find: () => Value | undefined | false,
  timeoutMs = 5_000,
): Promise<Value> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const value = find();
    if (value !== undefined && value !== false) {
      return value;
    }
    assert.ok(performance.now() < deadlineMs, `timed out waiting for ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}

export function joinFrame(name = 'join'): Uint8Array {
  return new SignalResponse({ message: { case: 'join', value: new JoinResponse({ serverVersion: name }) } }).toBinary();
}

/** Node of the fake room host; `onMessage` is the script. */
export class FakeHost implements HostConnector, RoomDirectory {
  readonly nodeId = nodeId('fake');
  readonly received: GatewayToHost[] = [];
  readonly rooms = new Set<string>();
  links = 0;
  link: Link<HostToGateway, GatewayToHost> | undefined;
  placeError: Error | undefined;
  onJoin: (connectionId: ConnectionId, join: JoinParameters) => void = (connectionId) => this.accept(connectionId);

  connect(): Link<GatewayToHost, HostToGateway> {
    this.links += 1;
    // structuredClone proves that what crosses is plain data.
    const [gatewayEnd, hostEnd] = memoryLink<GatewayToHost, HostToGateway>({ transfer: structuredClone });
    this.link = hostEnd;
    hostEnd.onMessage((message) => {
      this.received.push(message);
      if (message.kind === 'join') {
        this.onJoin(message.connectionId, message.join);
      }
    });
    return gatewayEnd;
  }

  locate(roomName: string) {
    return Promise.resolve(this.rooms.has(roomName) ? { roomName, nodeId: this.nodeId } : undefined);
  }

  place(roomName: string) {
    return this.placeError === undefined
      ? Promise.resolve({ roomName, nodeId: this.nodeId })
      : Promise.reject(this.placeError);
  }

  forget(): void {}

  list(): Promise<Uint8Array[]> {
    return Promise.resolve([]);
  }

  say(message: HostToGateway): void {
    this.link?.send(message);
  }

  accept(connectionId: ConnectionId): void {
    this.say({
      kind: 'accepted',
      connectionId,
      message: joinFrame(),
      participantSid: 'PA_alice' as ParticipantSid,
    });
  }

  of<Kind extends GatewayToHost['kind']>(kind: Kind): Extract<GatewayToHost, { kind: Kind }>[] {
    return this.received.filter((message): message is Extract<GatewayToHost, { kind: Kind }> => message.kind === kind);
  }

  /** Connection id of the n-th join, counted from the end. */
  connectionAt(fromEnd = 1): ConnectionId {
    const join = this.of('join').at(-fromEnd);
    assert.ok(join !== undefined);
    return join.connectionId;
  }
}

export class RecordingObserver implements GatewayObserver {
  readonly ends: string[] = [];
  readonly answers: number[] = [];
  readonly requests: string[] = [];
  connections = 0;
  rejected = 0;
  received = 0;
  sent: [number, number][] = [];
  connectionOpened(): void {
    this.connections += 1;
  }
  connectionClosed(): void {
    this.connections -= 1;
  }
  connectionRejected(): void {
    this.rejected += 1;
  }
  requestAnswered(route: string, status: number): void {
    this.requests.push(`${route} ${status}`);
  }
  joinAnswered(status: number): void {
    this.answers.push(status);
  }
  socketOpened(): void {
    this.ends.push('open');
  }
  socketEnded(end: string): void {
    this.ends.push(end);
  }
  signalReceived(): void {
    this.received += 1;
  }
  signalSent(sizeBytes: number, receivers: number): void {
    this.sent.push([sizeBytes, receivers]);
  }
}

export type TestGateway = {
  gateway: Gateway;
  host: FakeHost;
  observer: RecordingObserver;
  http: string;
  ws: string;
  [Symbol.asyncDispose]: () => Promise<void>;
};

export type TestGatewayOptions = Partial<GatewayOptions> & { settings?: Record<string, unknown> };

export async function startGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const { settings, ...rest } = options;
  const host = new FakeHost();
  const observer = new RecordingObserver();
  const config = configSchema.parse({
    port: 0,
    bind_addresses: ['127.0.0.1'],
    keys: { devkey: 'secret' },
    ...settings,
  });
  const gateway = new Gateway({
    config,
    log: pino({ level: 'silent' }),
    directory: host,
    connector: host,
    twirp: () => Promise.resolve({ status: 200, contentType: 'application/json', body: '{}' }),
    health: () => ({ ready: true }),
    observer,
    verifier: createTokenVerifier(config.keys),
    ...rest,
    timings: { closeGraceMs: 200, ...rest.timings },
  });
  await gateway.start();
  return {
    gateway,
    host,
    observer,
    http: `http://127.0.0.1:${gateway.port}`,
    ws: `ws://127.0.0.1:${gateway.port}`,
    [Symbol.asyncDispose]: () => gateway.close(),
  };
}

export function accessToken(claims: Record<string, unknown> = {}): string {
  const video = { roomJoin: true, room: 'hall' };
  return signToken(
    { sub: 'alice', video, ...claims },
    { apiKey: 'devkey', secret: 'secret', nowS: Date.now() / 1000, ttlS: 600 },
  );
}

/** A client's socket with everything that happened on it. */
export class TestClient {
  readonly socket: WebSocket;
  readonly messages: { data: Buffer; isBinary: boolean }[] = [];
  pings = 0;
  opened = false;
  closed: { code: number; reason: string } | undefined;
  refused: { status: number; body: string; cors: string | undefined } | undefined;

  constructor(url: string, options: ConstructorParameters<typeof WebSocket>[2] = {}) {
    this.socket = new WebSocket(url, options);
    this.socket.on('open', () => {
      this.opened = true;
    });
    this.socket.on('message', (data, isBinary) => this.messages.push({ data: data as Buffer, isBinary }));
    this.socket.on('ping', () => {
      this.pings += 1;
    });
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on('error', () => undefined);
    this.socket.on('unexpected-response', (_request, response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => {
        const cors = response.headers['access-control-allow-origin'];
        this.refused = { status: response.statusCode ?? 0, body, cors };
      });
    });
  }

  async first(): Promise<SignalResponse> {
    return this.response(0);
  }

  async response(index: number): Promise<SignalResponse> {
    const { data, isBinary } = await until(`message ${index}`, () => this.messages[index]);
    assert.equal(isBinary, true);
    return SignalResponse.fromBinary(data);
  }

  async refusal(): Promise<string> {
    const { status, body, cors } = await until('a refusal', () => this.refused);
    assert.equal(cors, '*');
    return `${status} ${body}`;
  }

  async closing(): Promise<string> {
    const { code, reason } = await until('the end of the socket', () => this.closed);
    return `${code} ${reason}`;
  }

  request(message: NonNullable<ConstructorParameters<typeof SignalRequest>[0]>['message']): void {
    this.socket.send(new SignalRequest({ message: message ?? { case: undefined } }).toBinary());
  }
}

export function joinUrl(gateway: TestGateway, query = '', claims: Record<string, unknown> = {}): string {
  return `${gateway.ws}/rtc?access_token=${accessToken(claims)}&${query}`;
}

/** A client that has joined. */
export async function joined(
  gateway: TestGateway,
  options: ConstructorParameters<typeof WebSocket>[2] = {},
): Promise<TestClient> {
  const client = new TestClient(joinUrl(gateway), options);
  await client.first();
  return client;
}
