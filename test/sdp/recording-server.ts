/**
 * A one-room toy server for `record.ts`: enough LiveKit signalling and mediasoup that real SDKs publish to it and receive
 * their own tracks back, while every description that they send is written down. Answers and offers come from `src/sdp`,
 * so that recording is also a rehearsal of them against real clients.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import {
  type AddTrackRequest,
  JoinResponse,
  ParticipantInfo,
  ParticipantInfo_State,
  ParticipantPermission,
  Room,
  ServerInfo,
  SessionDescription as SignalDescription,
  SignalRequest,
  SignalResponse,
  TrackInfo,
  TrackPublishedResponse,
  TrackType,
} from '@livekit/protocol';
// oxlint-disable-next-line no-restricted-imports -- a recorder rehearses descriptions without the rest of Plenum
import * as mediasoup from 'mediasoup';
import { type WebSocket, WebSocketServer } from 'ws';
import { formatPublisherAnswer } from '../../src/sdp/answer.ts';
import { consumerCapabilities, routerCodecs } from '../../src/sdp/capabilities.ts';
import { matchSections } from '../../src/sdp/match.ts';
import { type SubscriberSlot, formatSubscriberOffer } from '../../src/sdp/offer.ts';
import { answerLimits, parseDescription } from '../../src/sdp/parse.ts';
import { type AcceptedSection, planPublication } from '../../src/sdp/publish.ts';
import type { LocalTransport, RtpCapabilities, RtpParameters } from '../../src/sdp/rtp.ts';
import { readSubscriberAnswer } from '../../src/sdp/subscriber-answer.ts';
import { readRemoteTransport } from '../../src/sdp/transport.ts';
import type { Wish } from './golden.ts';

type Files = { directory: string; page: string; clientScript: string };

type Session = {
  name: string;
  socket: WebSocket;
  publisher: mediasoup.types.WebRtcTransport;
  subscriber: mediasoup.types.WebRtcTransport;
  wishes: Wish[];
  bound: Map<string, { sdpCid: string; wish: Wish; producer: mediasoup.types.Producer }>;
  accepted: Map<string, AcceptedSection>;
  remembered: Map<string, AcceptedSection>;
  slots: SubscriberSlot[];
  consumers: Map<string, mediasoup.types.Consumer>;
  publisherIce: string;
  publisherOffers: number;
  subscriberOffers: number;
  subscriberAnswers: number;
  subscriberConnected: boolean;
  /** Requests are handled one after the other. */
  tail: Promise<void>;
};

export class RecordingServer {
  readonly #files: Files;
  readonly #worker: mediasoup.types.Worker;
  readonly #router: mediasoup.types.Router;
  readonly #http = createServer((request, response) => this.#serve(request, response));
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #finished = new Map<string, (outcome: string) => void>();
  readonly #sessions = new Map<string, Session>();

  static async start(files: Files): Promise<RecordingServer> {
    const worker = await mediasoup.createWorker();
    const mimes = ['audio/opus', 'video/VP8', 'video/VP9', 'video/H264', 'video/AV1'];
    const router = await worker.createRouter({
      mediaCodecs: routerCodecs(mimes) as mediasoup.types.RouterRtpCodecCapability[],
    });
    const server = new RecordingServer(files, worker, router);
    await new Promise<void>((resolve) => server.#http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  private constructor(files: Files, worker: mediasoup.types.Worker, router: mediasoup.types.Router) {
    this.#files = files;
    this.#worker = worker;
    this.#router = router;
    mkdirSync(files.directory, { recursive: true });
    this.#http.on('upgrade', (request, socket, head) => {
      if (request.url?.startsWith('/rtc?') !== true) {
        socket.end('HTTP/1.1 404 Not Found\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n');
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (client) => void this.#join(client, nameOf(request)));
    });
  }

  get port(): number {
    const address = this.#http.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Resolves with what the page posts to `/done` for this recording. */
  whenDone(name: string): Promise<string> {
    return new Promise((resolve) => this.#finished.set(name, resolve));
  }

  /** Connection states and packets in and out, to see that descriptions do not only parse but also work. */
  async summary(name: string): Promise<Record<string, number | string>> {
    const session = this.#sessions.get(name);
    const counts: Record<string, number | string> = {
      publisher: `${session?.publisher.iceState} ${session?.publisher.dtlsState}`,
      subscriber: `${session?.subscriber.iceState} ${session?.subscriber.dtlsState} ${session?.subscriber.sctpState}`,
    };
    for (const [mid, { producer }] of session?.bound ?? []) {
      if (!producer.closed) {
        const stats = await producer.getStats();
        counts[`in ${mid}`] = stats
          .map((each) => `${each.rid}:${each.packetCount}:${JSON.stringify(each.bitrateByLayer)}`)
          .join(' ');
      }
    }
    for (const [mid, consumer] of session?.consumers ?? []) {
      if (!consumer.closed) {
        const stats = await consumer.getStats();
        counts[`${mid}:${consumer.rtpParameters.codecs[0]?.mimeType}`] =
          stats.find(({ type }) => type === 'outbound-rtp')?.packetCount ?? 0;
      }
    }
    return counts;
  }

  close(): void {
    this.#http.closeAllConnections();
    this.#http.close();
    this.#worker.close();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://localhost');
    response.setHeader('Access-Control-Allow-Origin', '*');
    if (url.pathname === '/page') {
      response.setHeader('Content-Type', 'text/html').end(this.#files.page);
    } else if (url.pathname === '/livekit-client.js') {
      response.setHeader('Content-Type', 'text/javascript').end(this.#files.clientScript);
    } else if (url.pathname === '/done') {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        this.#finished.get(url.searchParams.get('name') ?? '')?.(Buffer.concat(chunks).toString());
        response.end();
      });
    } else {
      response.writeHead(404).end();
    }
  }

  async #join(socket: WebSocket, name: string): Promise<void> {
    const session = await this.#createSession(socket, name);
    this.#sessions.set(name, session);
    socket.on('message', (data: Buffer) => {
      const request = SignalRequest.fromBinary(new Uint8Array(data));
      session.tail = session.tail
        .then(() => this.#handle(session, request))
        .catch((error: unknown) => {
          console.error(name, error);
          socket.close();
        });
    });
    send(socket, { case: 'join', value: joinResponse(name) });
    this.#offer(session);
  }

  async #createSession(socket: WebSocket, name: string): Promise<Session> {
    const ip = Object.values(networkInterfaces())
      .flat()
      .find((each) => each?.family === 'IPv4' && !each.internal)?.address;
    const create = (): Promise<mediasoup.types.WebRtcTransport> =>
      this.#router.createWebRtcTransport({
        listenInfos: [{ protocol: 'udp', ip: ip ?? '127.0.0.1' }],
        enableSctp: true,
        initialAvailableOutgoingBitrate: 3_000_000,
      });
    const [publisher, subscriber] = [await create(), await create()];
    return {
      name,
      socket,
      publisher,
      subscriber,
      wishes: [],
      bound: new Map(),
      accepted: new Map(),
      remembered: new Map(),
      slots: [],
      consumers: new Map(),
      publisherIce: '',
      publisherOffers: 0,
      subscriberOffers: 0,
      subscriberAnswers: 0,
      subscriberConnected: false,
      tail: Promise.resolve(),
    };
  }

  async #handle(session: Session, request: SignalRequest): Promise<void> {
    switch (request.message.case) {
      case 'addTrack':
        this.#addTrack(session, request.message.value);
        break;
      case 'offer':
        await this.#publish(session, request.message.value);
        break;
      case 'answer':
        await this.#subscribe(session, request.message.value.sdp);
        break;
      default:
        break;
    }
  }

  #addTrack(session: Session, request: AddTrackRequest): void {
    const kind = request.type === TrackType.AUDIO ? 'audio' : 'video';
    const layers = request.layers.map((layer) => ({
      quality: layer.quality as 0 | 1 | 2,
      width: layer.width,
      height: layer.height,
      bitrateBps: layer.bitrate,
    }));
    const codecs =
      request.simulcastCodecs.length > 0 ? request.simulcastCodecs : [{ codec: '', cid: request.cid, layers: [] }];
    for (const { codec, cid } of codecs) {
      session.wishes.push({
        kind,
        cid,
        codec: { codec, cid, layers },
        stereo: request.stereo,
        disableDtx: request.disableDtx,
      });
    }
    const track = new TrackInfo({
      sid: `TR_${kind}${session.wishes.length}`,
      type: request.type,
      name: request.name,
      source: request.source,
    });
    send(session.socket, { case: 'trackPublished', value: new TrackPublishedResponse({ cid: request.cid, track }) });
  }

  async #publish(session: Session, { sdp, id }: SignalDescription): Promise<void> {
    session.publisherOffers += 1;
    const number = session.publisherOffers;
    this.#write(session, `${number}.offer.sdp`, sdp);
    this.#write(session, `${number}.offer.json`, `${JSON.stringify({ wishes: session.wishes }, undefined, 2)}\n`);
    const offer = parseDescription(sdp);
    const remote = readRemoteTransport(offer);
    if (session.publisherIce === '') {
      await session.publisher.connect({ dtlsParameters: { role: remote.dtlsRole, fingerprints: remote.fingerprints } });
    } else if (session.publisherIce !== remote.ice.usernameFragment) {
      await session.publisher.restartIce();
    }
    session.publisherIce = remote.ice.usernameFragment;
    for (const section of offer.sections) {
      if (section.rejected || section.direction === 'inactive' || section.direction === 'recvonly') {
        this.#unpublish(session, section.mid);
      }
    }
    const pending = session.wishes.filter((wish) => [...session.bound.values()].every((each) => each.wish !== wish));
    const matches = matchSections({ sections: offer.sections, wishes: pending, bound: session.bound });
    const producers: { producer: mediasoup.types.Producer; wish: Wish }[] = [];
    for (const { section, wish, sdpCid } of matches) {
      this.#unpublish(session, section.mid);
      const plan = planPublication({ section, wish, router: this.#router.rtpCapabilities as RtpCapabilities });
      if (plan.kind === 'refused') {
        console.error(session.name, 'refused', section.mid, plan.reason);
        continue;
      }
      const producer = await session.publisher.produce({ kind: wish.kind, rtpParameters: plan.rtpParameters });
      session.accepted.set(section.mid, plan.accepted);
      session.bound.set(section.mid, { sdpCid, wish, producer });
      producers.push({ producer, wish });
    }
    const answer = formatPublisherAnswer({
      offer,
      transport: localTransport(session.publisher),
      accepted: session.accepted,
      remembered: session.remembered,
      sessionId: '1',
      version: number,
    });
    send(session.socket, { case: 'answer', value: new SignalDescription({ type: 'answer', sdp: answer, id }) });
    for (const each of producers) {
      await this.#consume(session, each.producer, each.wish);
    }
    this.#offer(session);
  }

  #unpublish(session: Session, mid: string): void {
    const bound = session.bound.get(mid);
    const accepted = session.accepted.get(mid);
    if (bound !== undefined && accepted !== undefined) {
      session.bound.delete(mid);
      session.wishes.splice(session.wishes.indexOf(bound.wish), 1);
      session.accepted.delete(mid);
      session.remembered.set(mid, accepted);
      bound.producer.close();
    }
  }

  async #consume(session: Session, producer: mediasoup.types.Producer, wish: Wish): Promise<void> {
    const reused = session.slots.find(
      (slot) => slot.kind === wish.kind && session.consumers.get(slot.mid)?.closed === true,
    );
    const mid = reused?.mid ?? String(session.slots.length + 1);
    const consumer = await session.subscriber.consume({
      producerId: producer.id,
      rtpCapabilities: consumerCapabilities(this.#router.rtpCapabilities as RtpCapabilities, {
        bandwidthEstimation: true,
      }),
      enableRtx: true,
      paused: true,
      mid,
    });
    session.consumers.set(mid, consumer);
    const slot: SubscriberSlot = {
      mid,
      kind: wish.kind,
      rtpParameters: consumer.rtpParameters as RtpParameters,
      track: { streamId: `PA_other|TR_${mid}`, trackId: `TR_${mid}` },
    };
    session.slots = reused ? session.slots.map((each) => (each === reused ? slot : each)) : [...session.slots, slot];
  }

  #offer(session: Session): void {
    session.subscriberOffers += 1;
    session.slots = session.slots.map((slot) => {
      const { track: _track, ...idle } = slot;
      return session.consumers.get(slot.mid)?.closed === true ? idle : slot;
    });
    const sdp = formatSubscriberOffer({
      transport: localTransport(session.subscriber),
      sessionId: '2',
      version: session.subscriberOffers,
      data: true,
      probator: true,
      slots: session.slots,
    });
    const midToTrackId = Object.fromEntries(session.slots.map(({ mid }) => [mid, `TR_${mid}`]));
    send(session.socket, {
      case: 'offer',
      value: new SignalDescription({ type: 'offer', sdp, id: session.subscriberOffers, midToTrackId }),
    });
  }

  async #subscribe(session: Session, sdp: string): Promise<void> {
    session.subscriberAnswers += 1;
    const answer = parseDescription(sdp, answerLimits);
    const slots = session.slots.slice(0, answer.sections.length - 2);
    if (slots.length > 0) {
      this.#write(session, `${session.subscriberAnswers}.subscriber-answer.sdp`, sdp);
      this.#write(
        session,
        `${session.subscriberAnswers}.subscriber-answer.json`,
        `${JSON.stringify({ slots }, undefined, 2)}\n`,
      );
    }
    const read = readSubscriberAnswer({ answer, offered: { data: true, probator: true, slots } });
    // The state cannot tell: a client whose checks outrun its answer gets as far as `connecting` without `connect()`.
    if (!session.subscriberConnected) {
      session.subscriberConnected = true;
      await session.subscriber.connect({
        dtlsParameters: { role: read.transport.dtlsRole, fingerprints: read.transport.fingerprints },
      });
    }
    for (const mid of read.accepted) {
      const consumer = session.consumers.get(mid);
      if (consumer?.closed === false) {
        await consumer.resume();
      }
    }
    if (read.refused.size > 0) {
      console.error(session.name, 'subscriber refused', [...read.refused]);
    }
  }

  #write(session: Session, suffix: string, text: string): void {
    writeFileSync(join(this.#files.directory, `${session.name}.${suffix}`), text);
  }
}

function localTransport(transport: mediasoup.types.WebRtcTransport): LocalTransport {
  const fingerprint = transport.dtlsParameters.fingerprints.find(({ algorithm }) => algorithm === 'sha-256');
  if (fingerprint === undefined || transport.sctpParameters === undefined) {
    throw new Error('transport without fingerprint or SCTP');
  }
  return {
    ice: transport.iceParameters,
    candidates: transport.iceCandidates.map(({ foundation, priority, address, protocol, port }) => ({
      foundation,
      priority,
      address,
      protocol,
      port,
      type: 'host',
    })),
    fingerprint,
    sctpPort: transport.sctpParameters.port,
    maxMessageSize: transport.sctpParameters.maxReceiveMessageSize,
  };
}

function joinResponse(name: string): JoinResponse {
  return new JoinResponse({
    room: new Room({ sid: 'RM_recording', name: 'recording' }),
    participant: new ParticipantInfo({
      sid: 'PA_self',
      identity: name,
      state: ParticipantInfo_State.ACTIVE,
      permission: new ParticipantPermission({ canPublish: true, canSubscribe: true, canPublishData: true }),
    }),
    otherParticipants: [
      new ParticipantInfo({ sid: 'PA_other', identity: 'other', state: ParticipantInfo_State.ACTIVE }),
    ],
    serverVersion: '1.13.5',
    serverInfo: new ServerInfo({ version: '1.13.5', protocol: 17, nodeId: 'ND_recording' }),
    subscriberPrimary: true,
    // rtc-node 1.1.0 panics on a zero interval. Nothing here answers pings, so they must come late.
    pingInterval: 600,
    pingTimeout: 1800,
  });
}

function send(socket: WebSocket, message: SignalResponse['message']): void {
  socket.send(new SignalResponse({ message }).toBinary());
}

/** The recording's name is the identity of the (unsigned) token, in the query or the header. */
function nameOf(request: IncomingMessage): string {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const token = url.searchParams.get('access_token') ?? request.headers.authorization?.slice('Bearer '.length) ?? '';
  const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString() || '{}');
  return typeof payload === 'object' && payload !== null && 'sub' in payload ? String(payload.sub) : 'unknown';
}
