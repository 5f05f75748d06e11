import type { HostChannel, HostLinks, HostSession } from './host-links.ts';
import type { RoomDirectory } from '../cluster/directory.ts';
import type { ConnectionId, NodeId, ParticipantSid } from '../protocol/ids.ts';
import type { SocketCloseCause } from '../protocol/session-messages.ts';
import type { Logger } from '../observe/log.ts';

export type HostReturnTimings = {
  /** Between two looks for the next host. */
  searchAgainMs: number;
  /** For the host to answer. */
  answerTimeoutMs: number;
  /** As long as legs go on without a host; then the client has to join anew. */
  graceMs: number;
};

export type HostReturnOptions = {
  session: HostSession;
  connectionId: ConnectionId;
  participantSid: ParticipantSid;
  /** The next host, where the last one has told. */
  next: NodeId | undefined;
  directory: RoomDirectory;
  links: HostLinks;
  timings: HostReturnTimings;
  log: Logger;
  /** The session goes on on this channel; what its client said meanwhile has been sent there. */
  attached: (channel: HostChannel) => void;
  /** Nobody takes the session: the client has to join anew. */
  givenUp: (why: 'no-host' | 'room-gone' | 'too-much-waits') => void;
};

/** What a client may say while its room has no host. */
const maxWaitingMessages = 200;
const maxWaitingBytes = 1024 * 1024;
/** Hosts of a version that does not know `attach` never answer. */
const maxUnanswered = 5;

/** An open socket on its way from a host that is gone to the next one. */
export class HostReturn {
  readonly #options: HostReturnOptions;
  readonly #sinceMs = performance.now();
  /** What the former host sent back, then what the client said since. */
  readonly #returned: Uint8Array[] = [];
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #next: NodeId | undefined;
  #channel: HostChannel | undefined;
  #unanswered = 0;
  #timer: NodeJS.Timeout | undefined;
  #end: SocketCloseCause | undefined;
  #isOver = false;

  constructor(options: HostReturnOptions) {
    this.#options = options;
    this.#next = options.next;
  }

  start(): void {
    this.#options.links.away(this.#options.connectionId, this.#options.session);
    void this.#search();
  }

  /** From the client. */
  say(message: Uint8Array): void {
    this.#waiting.push(message);
    this.#count(message);
  }

  /** The former host had not dealt with it. */
  returned(message: Uint8Array): void {
    this.#returned.push(message);
    this.#count(message);
  }

  /** The socket ended meanwhile: the next host gets what was said last, and that. */
  socketEnded(cause: SocketCloseCause): void {
    this.#end = cause;
  }

  attached(): void {
    const channel = this.#channel;
    if (channel === undefined || this.#isOver) {
      return;
    }
    const { connectionId } = this.#options;
    for (const message of [...this.#returned, ...this.#waiting]) {
      channel.send({ kind: 'signal', connectionId, message });
    }
    if (this.#end !== undefined) {
      channel.send({ kind: 'socketClosed', connectionId, cause: this.#end });
      channel.detach();
    }
    this.#finish();
    this.#options.attached(channel);
  }

  /** Not this node, or this node no longer. */
  searchAgain(next?: NodeId): void {
    if (this.#isOver) {
      return;
    }
    this.#channel?.detach();
    this.#channel = undefined;
    this.#next = next;
    const { directory, session, timings } = this.#options;
    directory.forget(session.roomName);
    this.#later(next === undefined ? timings.searchAgainMs : 0, () => void this.#search());
  }

  /** Nobody is to come back any more. */
  close(): void {
    this.#channel?.detach();
    this.#finish();
  }

  #count(message: Uint8Array): void {
    this.#waitingBytes += message.length;
    if (this.#waitingBytes > maxWaitingBytes || this.#returned.length + this.#waiting.length > maxWaitingMessages) {
      this.#giveUp('too-much-waits');
    }
  }

  /** Never rejects. */
  async #search(): Promise<void> {
    const { directory, session, timings, log } = this.#options;
    if (performance.now() - this.#sinceMs > timings.graceMs) {
      this.#giveUp('no-host');
      return;
    }
    try {
      const nodeId = this.#next ?? (await directory.locate(session.roomName))?.nodeId;
      if (this.#isOver) {
        return;
      }
      if (nodeId === undefined) {
        this.#giveUp('room-gone');
      } else {
        this.#attach(nodeId);
      }
    } catch (error) {
      log.debug({ err: error, roomName: session.roomName }, 'a room without a host is waited for');
      this.#later(timings.searchAgainMs, () => void this.#search());
    }
  }

  #attach(nodeId: NodeId): void {
    const { links, session, connectionId, participantSid, timings } = this.#options;
    this.#next = undefined;
    // Set before: a link that is dead on arrival makes us search again at once.
    this.#later(timings.answerTimeoutMs, () => this.#notAnswered());
    const timer = this.#timer;
    const channel = links.attach(nodeId, connectionId, session);
    if (this.#timer !== timer || this.#isOver) {
      return;
    }
    this.#channel = channel;
    channel.send({ kind: 'attach', connectionId, roomName: session.roomName, participantSid });
  }

  #notAnswered(): void {
    this.#unanswered += 1;
    if (this.#unanswered >= maxUnanswered) {
      this.#giveUp('no-host');
    } else {
      this.searchAgain();
    }
  }

  #later(delayMs: number, run: () => void): void {
    clearTimeout(this.#timer);
    if (!this.#isOver) {
      this.#timer = setTimeout(run, delayMs).unref();
    }
  }

  #giveUp(why: 'no-host' | 'room-gone' | 'too-much-waits'): void {
    if (!this.#isOver) {
      this.close();
      this.#options.givenUp(why);
    }
  }

  #finish(): void {
    if (!this.#isOver) {
      this.#isOver = true;
      clearTimeout(this.#timer);
      this.#options.links.back(this.#options.connectionId);
    }
  }
}
