import { EventEmitter, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { createWorker, workerBin, type types } from 'mediasoup';
import type { Logger } from '../observe/log.ts';
import type { RtpCodecCapability } from '../sdp/rtp.ts';
import { engineRefused, mediaClosed, noFreePort, workerNotStarted } from './errors.ts';
import type { MediaCloseReason, MediaSettings } from './media-types.ts';
import { RoomRouter } from './room-router.ts';

export type MediaWorkerEvents = {
  /** The process ended by itself. Everything on it is closed already. */
  died: [error: Error];
  close: [reason: MediaCloseReason];
};

export type MediaWorkerOptions = {
  index: number;
  settings: MediaSettings;
  log: Logger;
  /** Tried first, then the following ones up to the end of the range. */
  firstPort: number;
};

export type CreateRouterOptions = {
  mediaCodecs: readonly Omit<RtpCodecCapability, 'preferredPayloadType'>[] | readonly RtpCodecCapability[];
  /** Loudness below which a producer is not reported, in dB below full scale. Default 127: all are. */
  levelThresholdDbov?: number;
};

export type WorkerUsage = {
  index: number;
  pid: number;
  port: number;
  cpuMs: number;
  rssBytes: number;
  /** Of all its sockets, in both directions, since it started; 0 with a worker that was not built by `worker/`. */
  bytes: number;
  packets: number;
  routers: number;
  transports: number;
  producers: number;
  consumers: number;
  /** Producers and consumers of pipes. */
  pipeStreams: number;
};

/** The engine does not look more often, and needs ten packets per look: 20 ms frames give twelve. */
const levelIntervalMs = 250;
const pageBytes = 4096;
/** For each step of an orderly end; a worker that needs longer hangs. */
const endTimeoutMs = 2000;

/** One mediasoup process: one thread, one port for UDP and TCP, many rooms. */
export class MediaWorker extends EventEmitter<MediaWorkerEvents> {
  readonly index: number;
  readonly port: number;
  readonly #worker: types.Worker;
  readonly #server: types.WebRtcServer;
  readonly #settings: MediaSettings;
  readonly #log: Logger;
  readonly #routers = new Set<RoomRouter>();
  #closeReason: MediaCloseReason | undefined;

  private constructor(
    options: MediaWorkerOptions & { worker: types.Worker; server: types.WebRtcServer; port: number },
  ) {
    super();
    this.index = options.index;
    this.port = options.port;
    this.#worker = options.worker;
    this.#server = options.server;
    this.#settings = options.settings;
    this.#log = options.log;
    this.#worker.on('died', (error) => this.#died(error));
  }

  static async start(options: MediaWorkerOptions): Promise<MediaWorker> {
    const log = options.log.child({ workerIndex: options.index });
    // Other tags write a line per bad or late packet: `sctp` one for each lossy message that expires on a slow path.
    const worker = await createWorker({
      logLevel: 'warn',
      logTags: ['info', 'dtls'],
      libwebrtcFieldTrials: fieldTrials(options.settings),
    }).catch((error: unknown) => {
      throw workerNotStarted(workerBin, error);
    });
    try {
      leaveSignalsAlone(worker);
      const { server, port } = await bind(worker, options);
      log.info({ pid: worker.pid, port }, 'media worker is up');
      return new MediaWorker({ ...options, log, worker, server, port });
    } catch (error) {
      worker.close();
      throw error;
    }
  }

  get pid(): number {
    return this.#worker.pid;
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  get routers(): ReadonlySet<RoomRouter> {
    return this.#routers;
  }

  /** Relative load for placement: streams that it receives or sends, and a little for each connection. */
  get load(): number {
    let load = 0;
    for (const router of this.#routers) {
      for (const transport of router.transports) {
        load += 0.25 + transport.producers.size + transport.consumers.size;
      }
      for (const end of router.pipeEnds) {
        load += end.streams;
      }
    }
    return load;
  }

  async createRouter(options: CreateRouterOptions): Promise<RoomRouter> {
    this.#assertOpen();
    const router = await this.#request(() =>
      this.#worker.createRouter({ mediaCodecs: options.mediaCodecs as types.RouterRtpCodecCapability[] }),
    );
    const observer = await this.#request(() =>
      router.createAudioLevelObserver({
        interval: levelIntervalMs,
        threshold: -(options.levelThresholdDbov ?? 127),
        maxEntries: 1000,
      }),
    );
    this.#assertOpen();
    const room = new RoomRouter({
      router,
      observer,
      webRtcServer: this.#server,
      port: this.port,
      settings: this.#settings,
      log: this.#log,
      onClosed: (closed) => this.#routers.delete(closed),
    });
    this.#routers.add(room);
    return room;
  }

  async usage(): Promise<WorkerUsage> {
    this.#assertOpen();
    const [resources, rssBytes] = await Promise.all([
      this.#request(() => this.#worker.getResourceUsage()),
      residentBytes(this.pid),
    ]);
    const transports = [...this.#routers].flatMap((router) => [...router.transports]);
    return {
      index: this.index,
      pid: this.pid,
      port: this.port,
      cpuMs: resources.ru_utime + resources.ru_stime,
      rssBytes,
      // See worker/patches/08-socket-traffic-in-usage.patch.
      bytes: resources.ru_idrss + resources.ru_isrss,
      packets: resources.ru_msgrcv + resources.ru_msgsnd,
      routers: this.#routers.size,
      transports: transports.length,
      producers: transports.reduce((sum, transport) => sum + transport.producers.size, 0),
      consumers: transports.reduce((sum, transport) => sum + transport.consumers.size, 0),
      pipeStreams: [...this.#routers]
        .flatMap((router) => [...router.pipeEnds])
        .reduce((sum, end) => sum + end.streams, 0),
    };
  }

  /** The engine's own view, for leak tests. */
  dump(): Promise<types.WorkerDump> {
    return this.#worker.dump();
  }

  close(): void {
    if (this.#closeReason === undefined) {
      this.#worker.close();
      this.#closed('closed');
    }
  }

  /**
   * Closes it when it has answered what it was asked: an answer that finds no reader is an error in its log.
   * @returns when the process is gone and its port free
   */
  async end(): Promise<void> {
    if (this.#closeReason === undefined) {
      await Promise.race([
        this.#worker.getResourceUsage().catch(() => undefined),
        delay(endTimeoutMs, undefined, { ref: false }),
      ]);
    }
    this.close();
    if (!this.#worker.subprocessClosed) {
      await once(this.#worker, 'subprocessclose', { signal: AbortSignal.timeout(endTimeoutMs) }).catch(() =>
        kill(this.pid),
      );
    }
  }

  #died(error: Error): void {
    if (this.#closeReason === undefined) {
      this.#log.error({ err: error, pid: this.pid }, 'media worker died');
      this.#closed('worker-died');
      this.emit('died', error);
    }
  }

  #closed(reason: MediaCloseReason): void {
    this.#closeReason = reason;
    for (const router of this.#routers) {
      router.parentClosed(reason === 'closed' ? 'router-closed' : reason);
    }
    this.#routers.clear();
    this.emit('close', reason);
  }

  async #request<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      throw this.#closeReason === undefined && !this.#worker.closed
        ? engineRefused('a request to the media worker', error)
        : mediaClosed('the media worker');
    }
  }

  #assertOpen(): void {
    if (this.#closeReason !== undefined) {
      throw mediaClosed('the media worker');
    }
  }
}

/**
 * The engine's library closes its workers at the first SIGINT or SIGTERM of this process, before clients are told to leave.
 * Ending is the owner's task.
 */
function leaveSignalsAlone(worker: types.Worker): void {
  const { onSignal } = worker as unknown as { onSignal: NodeJS.SignalsListener };
  process.off('SIGINT', onSignal);
  process.off('SIGTERM', onSignal);
}

/** The engine's own default, and what our patch of the worker reads. */
function fieldTrials({ loudestAudio }: MediaSettings): string {
  const loudest = `Plenum-LoudestAudio/${loudestAudio.forwarded}-${loudestAudio.from}/`;
  return `WebRTC-Bwe-AlrLimitedBackoff/Enabled/${loudestAudio.forwarded > 0 ? loudest : ''}`;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}

/** The kernel gives what `net.core.rmem_max` and `wmem_max` allow, without complaint. */
const socketBufferBytes = 4 * 1024 * 1024;

/** Another instance on this machine may hold the first ports of the same range, so the next free one is taken. */
async function bind(
  worker: types.Worker,
  options: MediaWorkerOptions,
): Promise<{ server: types.WebRtcServer; port: number }> {
  const { settings } = options;
  for (let port = options.firstPort; port <= settings.portRangeEnd; port += 1) {
    const protocols: ('udp' | 'tcp')[] = [
      ...(settings.enableUdp ? ['udp' as const] : []),
      ...(settings.enableTcp ? ['tcp' as const] : []),
    ];
    const listenInfos = protocols.map((protocol) => ({
      protocol,
      ip: settings.listenAddress,
      port,
      // One socket serves every client of the worker; the usual 208 kB are a key frame to a hundred viewers.
      ...(protocol === 'udp' ? { sendBufferSize: socketBufferBytes, recvBufferSize: socketBufferBytes } : {}),
      ...(settings.announcedAddresses[0] === undefined ? {} : { announcedAddress: settings.announcedAddresses[0] }),
    }));
    try {
      return { server: await worker.createWebRtcServer({ listenInfos }), port };
    } catch (error) {
      if (worker.closed || !isPortTaken(error)) {
        throw engineRefused(`binding media port ${port} on ${settings.listenAddress}`, error);
      }
    }
  }
  throw noFreePort(options.firstPort, settings.portRangeEnd);
}

function isPortTaken(error: unknown): boolean {
  return error instanceof Error && /address already in use|EADDRINUSE|no more available ports/i.test(error.message);
}

async function residentBytes(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/statm`, 'utf8').catch(() => '')).split(' ');
  return Number(fields[1] ?? 0) * pageBytes;
}
