/** The sending end of a pipe: which producers go through it to another router. */
import type { MediaProducer } from '../media/media-producer.ts';
import type { PipedOut, PipeEnd } from '../media/pipe-end.ts';
import type { RoomRouter } from '../media/room-router.ts';
import { PlenumError } from '../lib/errors.ts';
import type { Logger } from '../observe/log.ts';
import type { LegPeerReply, PipeEndpoint } from '../protocol/leg-peer-messages.ts';
import type { PublishedProducer } from './published-producer.ts';

export type PipeSourceOptions = {
  pipeId: string;
  workerIndex: number;
  /** The receiving end. */
  endpoint: PipeEndpoint;
  router: () => Promise<RoomRouter>;
  send: (reply: LegPeerReply) => void;
  /** It is over, not by `close`. */
  onEnded: (source: PipeSource) => void;
  log: Logger;
};

type Track = { producer: MediaProducer; out: Promise<PipedOut> };

export class PipeSource {
  readonly pipeId: string;
  readonly workerIndex: number;
  readonly #options: PipeSourceOptions;
  readonly #tracks = new Map<string, Track>();
  readonly #end: Promise<PipeEnd>;
  #closing: Promise<void> | undefined;

  constructor(options: PipeSourceOptions) {
    this.#options = options;
    this.pipeId = options.pipeId;
    this.workerIndex = options.workerIndex;
    this.#end = this.#open();
    // Each request that waits for it is refused; the next one may start afresh.
    this.#end.catch(() => this.#options.onEnded(this));
  }

  /** Answers the request. One for a producer that is in the pipe already gets the same answer again. */
  async pipe(requestId: number, published: PublishedProducer): Promise<void> {
    const { producerId, trackSid, kind, facts } = published;
    try {
      const end = await this.#end;
      const track = this.#tracks.get(producerId) ?? this.#start(end, published);
      const { consumer, rtpParameters } = await track.out;
      if (this.#tracks.get(producerId) !== track) {
        return;
      }
      this.#options.send({
        kind: 'piped',
        requestId,
        endpoint: end.local,
        track: { trackSid, kind, rtpParameters, paused: consumer.producerPaused, facts },
      });
    } catch (error) {
      const known = error instanceof PlenumError && error.reason === 'no-such-producer';
      this.#options.log.debug({ err: error, producerId }, 'a producer cannot be piped');
      const detail = error instanceof Error ? error.message : String(error);
      this.#options.send({ kind: 'refused', requestId, reason: known ? 'no-producer' : 'failed', detail });
    }
  }

  /** Requests reach the engine in the order in which they were made, so that the last one holds. */
  setFlow(producerId: string, flows: boolean): void {
    const track = this.#tracks.get(producerId);
    track?.out
      .then(({ consumer }) => {
        // With its producer the engine has closed the consumer too, though it has not told so yet.
        const isOver = track.producer.closed || consumer.closed;
        return isOver ? undefined : flows ? consumer.resume() : consumer.pause();
      })
      .catch((error: unknown) => this.#options.log.debug({ err: error, producerId }, 'a piped track is gone'));
  }

  unpipe(producerId: string): void {
    const track = this.#tracks.get(producerId);
    this.#tracks.delete(producerId);
    track?.out.then(
      // With its producer the engine closes it by itself.
      ({ consumer }) => (track.producer.closed ? undefined : consumer.close()),
      () => undefined,
    );
  }

  /** The receiving end has these and no others. */
  keepOnly(producerIds: readonly string[]): void {
    const kept = new Set(producerIds);
    for (const producerId of [...this.#tracks.keys()]) {
      if (!kept.has(producerId)) {
        this.unpipe(producerId);
      }
    }
  }

  /** @returns when the engine holds nothing of it any more. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#tracks.clear();
    const end = await this.#end.catch(() => undefined);
    await end?.close();
  }

  async #open(): Promise<PipeEnd> {
    const router = await this.#options.router();
    const end = await router.createPipeEnd();
    end.once('close', () => this.#onEndClosed());
    try {
      await end.connect(this.#options.endpoint);
    } catch (error) {
      await end.close();
      throw error;
    }
    return end;
  }

  #onEndClosed(): void {
    if (this.#closing === undefined) {
      this.#closing = Promise.resolve();
      this.#tracks.clear();
      this.#options.send({ kind: 'pipeClosed', pipeId: this.pipeId });
      this.#options.onEnded(this);
    }
  }

  #start(end: PipeEnd, { producerId, producer }: PublishedProducer): Track {
    const track: Track = { producer, out: end.send(producerId) };
    this.#tracks.set(producerId, track);
    const forget = (): boolean => this.#tracks.get(producerId) === track && this.#tracks.delete(producerId);
    track.out.then(({ consumer }) => {
      const { pipeId } = this;
      consumer.on('producerPaused', (paused) =>
        this.#options.send({ kind: 'producerPaused', pipeId, producerId, paused }),
      );
      consumer.once('close', (reason) => {
        if (forget() && reason === 'producer-closed') {
          this.#options.send({ kind: 'producerClosed', pipeId, producerId });
        }
      });
    }, forget);
    return track;
  }
}
