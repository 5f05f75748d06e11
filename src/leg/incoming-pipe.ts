/** One life of a pipe at its receiving end: the end itself, and its name at the other node. */
import { randomUUID } from 'node:crypto';
import type { MediaProducer } from '../media/media-producer.ts';
import type { PipeEnd } from '../media/pipe-end.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { ProducerHome } from '../protocol/leg-messages.ts';
import type { PipeEndpoint } from '../protocol/leg-peer-messages.ts';
import type { PeerClient, PipeAnswer, PipeNotice, PipeReceiver } from './peer-client.ts';

export type IncomingPipeNotice = PipeNotice | { kind: 'linkRestored' | 'peerGone' };

export type IncomingPipeOptions = {
  roomName: string;
  home: ProducerHome;
  router: () => Promise<RoomRouter>;
  peer: () => PeerClient;
  epoch: () => number;
  /** Gives up requests under way. */
  signal: AbortSignal;
  onNotice: (notice: IncomingPipeNotice) => void;
};

export class IncomingPipe implements PipeReceiver {
  readonly pipeId: string = randomUUID();
  readonly #options: IncomingPipeOptions;
  readonly #peer: PeerClient;
  readonly #asked = new Set<string>();
  readonly #paused = new Map<string, boolean>();
  readonly #end: Promise<PipeEnd>;
  #remote: PipeEndpoint | undefined;
  #connecting: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: IncomingPipeOptions) {
    this.#options = options;
    this.#end = this.#open();
    // Each request that waits for it fails with it.
    this.#end.catch(() => undefined);
    this.#peer = options.peer();
    this.#peer.addPipe(this);
  }

  get heldProducers(): string[] {
    return [...this.#asked];
  }

  async request(producerId: string): Promise<PipeAnswer> {
    const { roomName, home, epoch, signal } = this.#options;
    const end = await this.#end;
    this.#asked.add(producerId);
    this.#paused.delete(producerId);
    const answer = await this.#peer.requestPipe(
      {
        roomName,
        epoch: epoch(),
        pipeId: this.pipeId,
        sourceWorkerIndex: home.workerIndex,
        producerId,
        endpoint: end.local,
      },
      signal,
    );
    this.#remote ??= answer.endpoint;
    this.#connecting ??= end.connect(answer.endpoint);
    await this.#connecting;
    return answer;
  }

  /** Whether this end is joined to the one that answered. */
  leadsTo(answer: PipeAnswer): boolean {
    return this.#remote?.address === answer.endpoint.address && this.#remote.port === answer.endpoint.port;
  }

  async receive(options: Parameters<PipeEnd['receive']>[0]): Promise<MediaProducer> {
    const end = await this.#end;
    return end.receive(options);
  }

  /** What was told since the last request; undefined = nothing. */
  latestPaused(producerId: string): boolean | undefined {
    return this.#paused.get(producerId);
  }

  setFlow(producerId: string, flows: boolean): void {
    this.#peer.send({ kind: 'flow', pipeId: this.pipeId, producerId, flows });
  }

  drop(producerId: string): void {
    this.#asked.delete(producerId);
    this.#peer.send({ kind: 'unpipe', pipeId: this.pipeId, producerId });
  }

  notice(notice: PipeNotice): void {
    if (notice.kind === 'producerPaused') {
      this.#paused.set(notice.producerId, notice.paused);
    }
    this.#options.onNotice(notice);
  }

  linkRestored(): void {
    this.#options.onNotice({ kind: 'linkRestored' });
  }

  peerGone(): void {
    this.#options.onNotice({ kind: 'peerGone' });
  }

  /** @returns when the engine holds nothing of it any more. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#peer.removePipe(this);
    const end = await this.#end.catch(() => undefined);
    await end?.close();
  }

  async #open(): Promise<PipeEnd> {
    const router = await this.#options.router();
    const end = await router.createPipeEnd();
    end.once('close', () => {
      if (this.#closing === undefined) {
        this.#options.onNotice({ kind: 'pipeClosed', pipeId: this.pipeId });
      }
    });
    return end;
  }
}
