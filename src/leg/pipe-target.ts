/** The receiving end of a pipe: brings producers of another router to this one, and keeps what is wanted and what is there alike. */
import { PlenumError } from '../lib/errors.ts';
import type { MediaProducer } from '../media/media-producer.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { Logger } from '../observe/log.ts';
import type { ProducerHome } from '../protocol/leg-messages.ts';
import { pipeRefused } from './errors.ts';
import { IncomingPipe, type IncomingPipeNotice } from './incoming-pipe.ts';
import type { PeerClient, PipeAnswer } from './peer-client.ts';
import { planPipe, type PipeAction, type ReceivedTrack } from './plan-pipe.ts';
import type { PublishedProducer } from './published-producer.ts';
import { ReconcileLoop } from './reconcile-loop.ts';

export type PipeTargetOptions = {
  roomName: string;
  home: ProducerHome;
  /** Of the receiving router. */
  workerIndex: number;
  router: () => Promise<RoomRouter>;
  peer: () => PeerClient;
  epoch: () => number;
  /** Monotonic milliseconds. */
  now: () => number;
  /** Producers came or went. */
  onChanged: () => void;
  log: Logger;
};

type Received = ReceivedTrack & { published: PublishedProducer };

const firstRetryMs = 250;
const maxRetryMs = 5000;

export class PipeTarget {
  readonly #options: PipeTargetOptions;
  readonly #loop: ReconcileLoop;
  readonly #wanted = new Map<string, { flows: boolean }>();
  readonly #received = new Map<string, Received>();
  readonly #failures = new Map<string, { count: number; retryAtMs: number }>();
  #pipe: IncomingPipe | undefined;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: PipeTargetOptions) {
    this.#options = options;
    this.#loop = new ReconcileLoop({ pass: () => this.#pass(), onError: (error) => this.#report(error) });
  }

  get empty(): boolean {
    return this.#wanted.size === 0;
  }

  /** Producers that came through. */
  get received(): number {
    return this.#received.size;
  }

  producer(producerId: string): PublishedProducer | undefined {
    return this.#received.get(producerId)?.published;
  }

  want(producerId: string, flows: boolean): void {
    this.#wanted.set(producerId, { flows });
    this.#loop.request();
  }

  unwant(producerId: string): void {
    this.#wanted.delete(producerId);
    this.#failures.delete(producerId);
    this.#loop.request();
  }

  /** All producers end at once. @returns when the engine holds nothing of it any more. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#wanted.clear();
    const dropped = this.#dropPipe();
    await this.#loop.close();
    await dropped;
  }

  async #pass(): Promise<void> {
    if (this.#closing !== undefined) {
      return;
    }
    const { actions, wakeMs } = planPipe({
      wanted: this.#wanted,
      received: this.#received,
      retryAtMs: new Map([...this.#failures].map(([producerId, { retryAtMs }]) => [producerId, retryAtMs])),
      nowMs: this.#options.now(),
    });
    this.#wakeAt(wakeMs);
    await Promise.all(actions.map((action) => this.#carryOut(action)));
    if (this.#received.size === 0) {
      // Nothing came, or is there any more: the next try makes a new pipe.
      await this.#dropPipe();
    }
  }

  async #carryOut(action: PipeAction): Promise<void> {
    const { producerId } = action;
    switch (action.kind) {
      case 'drop':
        return this.#drop(producerId);
      case 'request':
        return this.#request(producerId);
      case 'tellFlow':
        return this.#tellFlow(producerId, action.flows);
      case 'setPaused':
        return this.#setPaused(producerId, action.paused);
    }
  }

  #drop(producerId: string): void {
    this.#pipe?.drop(producerId);
    this.#forget(producerId);
  }

  async #request(producerId: string): Promise<void> {
    try {
      this.#pipe ??= new IncomingPipe({
        ...this.#options,
        signal: this.#abort.signal,
        onNotice: (notice) => this.#onNotice(notice),
      });
      const pipe = this.#pipe;
      const answer = await pipe.request(producerId);
      if (this.#pipe !== pipe) {
        return;
      }
      if (!pipe.leadsTo(answer)) {
        // The other node has forgotten this pipe and made it anew; this end cannot be turned to it.
        throw pipeRefused('failed', 'the pipe was made anew');
      }
      await this.#receive(pipe, producerId, answer);
      this.#failures.delete(producerId);
      this.#loop.request();
    } catch (error) {
      await this.#failed(producerId, error);
    }
  }

  async #receive(pipe: IncomingPipe, producerId: string, answer: PipeAnswer): Promise<void> {
    const { kind, rtpParameters, paused, trackSid, facts } = answer.track;
    const known = this.#received.get(producerId);
    if (known !== undefined) {
      known.sourcePaused = pipe.latestPaused(producerId) ?? paused;
      known.unconfirmed = false;
      known.flows = false;
      return;
    }
    // Nothing flows yet. A copy that starts paused is resumed with the first subscriber that takes it.
    const producer = await pipe.receive({ id: producerId, kind, rtpParameters, paused: true });
    if (this.#pipe !== pipe || this.#closing !== undefined) {
      producer.close();
      return;
    }
    this.#received.set(producerId, {
      flows: false,
      sourcePaused: pipe.latestPaused(producerId) ?? paused,
      paused: true,
      unconfirmed: false,
      published: { producerId, trackSid, kind, workerIndex: this.#options.workerIndex, facts, producer },
    });
    producer.once('close', () => this.#onProducerClosed(producerId, producer));
    this.#options.onChanged();
  }

  #tellFlow(producerId: string, flows: boolean): void {
    const track = this.#received.get(producerId);
    if (track !== undefined) {
      track.flows = flows;
      this.#pipe?.setFlow(producerId, flows);
    }
  }

  async #setPaused(producerId: string, paused: boolean): Promise<void> {
    const track = this.#received.get(producerId);
    if (track === undefined || track.published.producer.closed) {
      return;
    }
    track.paused = paused;
    await (paused ? track.published.producer.pause() : track.published.producer.resume());
  }

  async #failed(producerId: string, error: unknown): Promise<void> {
    if (this.#closing !== undefined) {
      return;
    }
    const { log, now } = this.#options;
    const reason = error instanceof PlenumError ? error.reason : '';
    const level = reason === '' || reason === 'media-engine-refused' ? 'warn' : 'debug';
    log[level]({ err: error, producerId }, 'a producer cannot be brought here');
    const count = (this.#failures.get(producerId)?.count ?? 0) + 1;
    if (this.#wanted.has(producerId)) {
      const waitMs = Math.min(firstRetryMs * 2 ** (count - 1), maxRetryMs);
      this.#failures.set(producerId, { count, retryAtMs: now() + waitMs });
    }
    if (reason === 'pipe-no-producer' || reason === 'pipe-no-room') {
      this.#forget(producerId);
    } else if (reason !== 'leg-peer-unreachable' && reason !== 'pipe-stale-epoch') {
      await this.#dropPipe();
    }
    this.#pipe?.drop(producerId);
    this.#loop.request();
  }

  #onNotice(notice: IncomingPipeNotice): void {
    switch (notice.kind) {
      case 'producerPaused': {
        const track = this.#received.get(notice.producerId);
        if (track !== undefined) {
          track.sourcePaused = notice.paused;
        }
        break;
      }
      case 'producerClosed':
        this.#forget(notice.producerId);
        this.#delay(notice.producerId);
        break;
      case 'linkRestored':
        this.#failures.clear();
        for (const track of this.#received.values()) {
          track.unconfirmed = true;
        }
        break;
      case 'pipeClosed':
      case 'peerGone':
        for (const producerId of this.#received.keys()) {
          this.#delay(producerId);
        }
        void this.#dropPipe();
        break;
    }
    this.#loop.request();
  }

  /** What just ended will hardly be back at once; usually its end is also told to those who want it. */
  #delay(producerId: string): void {
    this.#failures.set(producerId, { count: 1, retryAtMs: this.#options.now() + firstRetryMs });
  }

  #onProducerClosed(producerId: string, producer: MediaProducer): void {
    if (this.#received.get(producerId)?.published.producer === producer) {
      this.#received.delete(producerId);
      this.#options.onChanged();
      this.#loop.request();
    }
  }

  #forget(producerId: string): void {
    const track = this.#received.get(producerId);
    if (track !== undefined) {
      this.#received.delete(producerId);
      track.published.producer.close();
      this.#options.onChanged();
    }
  }

  /** Ends the pipe with all that came through it; what is wanted comes through a new one. */
  #dropPipe(): Promise<void> {
    const pipe = this.#pipe;
    this.#pipe = undefined;
    for (const producerId of [...this.#received.keys()]) {
      this.#forget(producerId);
    }
    return pipe?.close() ?? Promise.resolve();
  }

  #wakeAt(wakeMs: number | undefined): void {
    clearTimeout(this.#timer);
    if (wakeMs !== undefined && this.#closing === undefined) {
      this.#timer = setTimeout(() => this.#loop.request(), Math.max(wakeMs - this.#options.now(), 0) + 1).unref();
    }
  }

  #report(error: unknown): void {
    if (this.#closing === undefined) {
      this.#options.log.debug({ err: error }, 'a pass over a pipe failed');
    }
  }
}
