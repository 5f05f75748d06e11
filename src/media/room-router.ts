import { EventEmitter } from 'node:events';
import type { types } from 'mediasoup';
import type { Logger } from '../observe/log.ts';
import { consumerCapabilities } from '../sdp/capabilities.ts';
import type { LocalTransport, RtpCapabilities } from '../sdp/rtp.ts';
import { adoptTransport } from './adopt-transport.ts';
import { DataBus } from './data-bus.ts';
import { engineRefused, mediaClosed } from './errors.ts';
import { localCandidates } from './local-candidates.ts';
import type { MediaConsumer } from './media-consumer.ts';
import { maxMessageBytes, type MediaCloseReason, type MediaSettings, type ProducerLevel } from './media-types.ts';
import { lowBufferBytes } from './outgoing-stream.ts';
import { PeerTransport } from './peer-transport.ts';
import { PipeEnd } from './pipe-end.ts';

export type RoomRouterEvents = {
  /** Every 250 ms while anybody is above the threshold, and once with an empty list when all fell silent. */
  levels: [levels: ProducerLevel[]];
  close: [reason: MediaCloseReason];
};

export type RoomRouterOptions = {
  router: types.Router;
  observer: types.AudioLevelObserver;
  webRtcServer: types.WebRtcServer;
  port: number;
  settings: MediaSettings;
  log: Logger;
  onClosed: (router: RoomRouter) => void;
};

const pipeBufferBytes = 2 * 1024 * 1024;

/** One room on one worker: its transports, speaker levels and data. */
export class RoomRouter extends EventEmitter<RoomRouterEvents> {
  readonly #options: RoomRouterOptions;
  readonly #router: types.Router;
  readonly #transports = new Set<PeerTransport>();
  readonly #pipeEnds = new Set<PipeEnd>();
  readonly #openingPipeEnds = new Set<Promise<unknown>>();
  #pipesClosing = false;
  readonly #withBwe: RtpCapabilities;
  readonly #withoutBwe: RtpCapabilities;
  #bus: Promise<DataBus> | undefined;
  #closeReason: MediaCloseReason | undefined;

  constructor(options: RoomRouterOptions) {
    super();
    this.#options = options;
    this.#router = options.router;
    this.#withBwe = consumerCapabilities(this.rtpCapabilities, { bandwidthEstimation: true });
    this.#withoutBwe = consumerCapabilities(this.rtpCapabilities, { bandwidthEstimation: false });
    options.observer.on('volumes', (volumes) => {
      this.emit(
        'levels',
        volumes.map((entry) => ({ producerId: entry.producer.id, levelDbov: -entry.volume })),
      );
    });
    options.observer.on('silence', () => this.emit('levels', []));
  }

  get id(): string {
    return this.#router.id;
  }

  /** What this room can carry, in the engine's payload types and extension ids. */
  get rtpCapabilities(): RtpCapabilities {
    return this.#router.rtpCapabilities as RtpCapabilities;
  }

  /** What subscribers are offered. Kept, as the engine takes a whole set for each consumer. */
  capabilities(bwe: boolean): RtpCapabilities {
    return bwe ? this.#withBwe : this.#withoutBwe;
  }

  get alwaysEstimatesBandwidth(): boolean {
    return this.#options.settings.alwaysEstimatesBandwidth;
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  get transports(): ReadonlySet<PeerTransport> {
    return this.#transports;
  }

  async createPeerTransport(): Promise<PeerTransport> {
    this.#assertOpen();
    const { settings } = this.#options;
    const transport = await this.#router
      .createWebRtcTransport({
        webRtcServer: this.#options.webRtcServer,
        enableUdp: settings.enableUdp,
        enableTcp: settings.enableTcp,
        iceConsentTimeout: Math.max(1, Math.round(settings.iceConsentTimeoutSeconds)),
        initialAvailableOutgoingBitrate: settings.initialBitrateBps,
        enableSctp: true,
        maxSendMessageSize: maxMessageBytes,
        maxReceiveMessageSize: maxMessageBytes,
        // The streams' own limits keep far below this; the room above is for a message that is larger than a limit.
        sctpSendBufferSize: 8_000_000,
        sctpPerStreamSendQueueLimit: 2_500_000,
        sctpDefaultStreamBufferedAmountLowThreshold: lowBufferBytes,
      })
      .catch((error: unknown) => {
        throw this.#router.closed ? mediaClosed('the router') : engineRefused('a transport', error);
      });
    adoptTransport(this.#router, transport);
    this.#assertOpen();
    const peer = new PeerTransport({
      transport,
      local: this.#describe(transport),
      home: this,
      reliableQueueBytes: settings.reliableQueueBytes,
      log: this.#options.log.child({ transportId: transport.id }),
    });
    this.#transports.add(peer);
    return peer;
  }

  get pipeEnds(): ReadonlySet<PipeEnd> {
    return this.#pipeEnds;
  }

  /** One end of a pipe to another router of the room, on another worker or node. */
  async createPipeEnd(): Promise<PipeEnd> {
    this.#assertOpen();
    if (this.#pipesClosing) {
      throw mediaClosed('the router');
    }
    const opening = this.#openPipeEnd();
    this.#openingPipeEnds.add(opening);
    try {
      return await opening;
    } finally {
      this.#openingPipeEnds.delete(opening);
    }
  }

  /** To be awaited before `close`: what the engine makes in a router that closes meanwhile would never be released. */
  async closePipes(): Promise<void> {
    this.#pipesClosing = true;
    await Promise.allSettled(this.#openingPipeEnds);
    await Promise.all([...this.#pipeEnds].map((end) => end.close()));
  }

  /** Whether a producer of this id is on this router, its own or a piped one. */
  canConsume(producerId: string): boolean {
    return this.#router.canConsume({ producerId, rtpCapabilities: this.#router.rtpCapabilities });
  }

  /** Adds an audio producer to the levels. Its end is noticed by the engine. */
  async observe(producer: types.Producer): Promise<void> {
    await this.#options.observer.addProducer({ producerId: producer.id });
  }

  /** Made on first use: a room without data pays nothing for it. */
  dataBus(): Promise<DataBus> {
    this.#bus ??= DataBus.create({ router: this.#router, log: this.#options.log });
    return this.#bus;
  }

  async #openPipeEnd(): Promise<PipeEnd> {
    const { address, portRangeStart, portRangeEnd } = this.#options.settings.pipes;
    const transport = await this.#router
      .createPipeTransport({
        listenInfo: {
          protocol: 'udp',
          ip: address,
          portRange: { min: portRangeStart, max: portRangeEnd },
          // All tracks of a worker's publishers come in here; the system's limit may be lower and then holds.
          recvBufferSize: pipeBufferBytes,
          sendBufferSize: pipeBufferBytes,
        },
        enableSctp: false,
        enableRtx: true,
        enableSrtp: true,
      })
      .catch((error: unknown) => {
        throw this.#router.closed ? mediaClosed('the router') : engineRefused('a pipe', error);
      });
    adoptTransport(this.#router, transport);
    this.#assertOpen();
    const end = new PipeEnd({
      transport,
      capabilities: this.rtpCapabilities,
      forget: (closed) => this.#pipeEnds.delete(closed),
    });
    this.#pipeEnds.add(end);
    return end;
  }

  *consumersOf(producerId: string): Iterable<MediaConsumer> {
    for (const { consumers } of [...this.#transports, ...this.#pipeEnds]) {
      for (const consumer of consumers.values()) {
        if (consumer.producerId === producerId) {
          yield consumer;
        }
      }
    }
  }

  forget(transport: PeerTransport): void {
    this.#transports.delete(transport);
  }

  close(): void {
    if (this.#closeReason === undefined) {
      this.#router.close();
      this.parentClosed('closed');
    }
  }

  parentClosed(reason: MediaCloseReason): void {
    if (this.#closeReason !== undefined) {
      return;
    }
    this.#closeReason = reason;
    const childReason = reason === 'closed' ? 'router-closed' : reason;
    for (const transport of this.#transports) {
      transport.parentClosed(childReason);
    }
    this.#transports.clear();
    for (const end of [...this.#pipeEnds]) {
      end.parentClosed(childReason);
    }
    this.#options.onClosed(this);
    this.emit('close', reason);
  }

  /** The engine's own view, for leak tests. */
  dump(): Promise<types.RouterDump> {
    return this.#router.dump();
  }

  #describe(transport: types.WebRtcTransport): LocalTransport {
    const { settings, port } = this.#options;
    const fingerprint = transport.dtlsParameters.fingerprints.find((entry) => entry.algorithm === 'sha-256');
    if (fingerprint === undefined) {
      throw engineRefused('a transport', new Error('no sha-256 fingerprint'));
    }
    return {
      ice: {
        usernameFragment: transport.iceParameters.usernameFragment,
        password: transport.iceParameters.password,
        iceLite: true,
      },
      candidates: localCandidates({
        addresses: settings.announcedAddresses,
        port,
        udp: settings.enableUdp,
        tcp: settings.enableTcp,
      }),
      fingerprint,
      sctpPort: transport.sctpParameters?.port ?? 5000,
      maxMessageSize: maxMessageBytes,
    };
  }

  #assertOpen(): void {
    if (this.#closeReason !== undefined) {
      throw mediaClosed('the router');
    }
  }
}
