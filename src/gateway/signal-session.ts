import { DisconnectReason } from '@livekit/protocol';
import type { WebSocketServer } from 'ws';
import { type HttpRefusal, joinRefusal } from '../protocol/http-errors.ts';
import type { ConnectionId, NodeId, ParticipantSid } from '../protocol/ids.ts';
import type { JoinParameters } from '../protocol/session-messages.ts';
import type { Logger } from '../observe/log.ts';
import { causeForHost, type CloseFrame, type SocketEnd } from './close-codes.ts';
import { toRefusal } from './errors.ts';
import { findHost, type HostRules } from './find-host.ts';
import type { HostChannel, HostLinks, HostLoss, HostSession } from './host-links.ts';
import { HostReturn } from './host-return.ts';
import type { KeepAlive } from './keep-alive.ts';
import { reconnectLeave } from './leave-frames.ts';
import type { GatewayObserver } from './observer.ts';
import { SignalFrame } from './signal-frame.ts';
import { SignalSocket } from './signal-socket.ts';
import type { UpgradeSocket } from './upgrade-socket.ts';

/** Between two looks for the host of a room. */
const searchAgainMs = 50;
/** For a host to take over an open socket. */
const attachTimeoutMs = 3_000;

/** What all sessions of a gateway share. */
export type SessionSurroundings = {
  hosts: HostRules;
  links: HostLinks;
  webSockets: WebSocketServer;
  keepAlive: KeepAlive;
  observer: GatewayObserver;
  log: Logger;
  firstAnswerTimeoutMs: number;
  /** How long a join is held while its room is between two hosts. */
  holdMs: number;
  /** How long an open socket is kept while its room has no host. */
  hostGraceMs: number;
  queueLimitBytes: number;
};

export type SignalSessionOptions = {
  connectionId: ConnectionId;
  join: JoinParameters;
  client: UpgradeSocket;
  surroundings: SessionSurroundings;
  /** The upgrade request was answered, or its client went away. */
  onAnswered: () => void;
  /** Called once, last. */
  onEnd: () => void;
};

/**
 * One client from its upgrade request to the end of its socket: waits for the room's first answer, then carries messages
 * both ways. The socket is only opened together with that answer, because clients treat a refusal before it as an HTTP
 * error they can show, and after it as a broken connection they retry.
 */
export class SignalSession implements HostSession {
  readonly #options: SignalSessionOptions;
  readonly #around: SessionSurroundings;
  readonly #startedAtMs = performance.now();
  #phase: 'waiting' | 'open' | 'ended' = 'waiting';
  #deadline: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #channel: HostChannel | undefined;
  #socket: SignalSocket | undefined;
  #participantSid: ParticipantSid | undefined;
  #legHome: NodeId | undefined;
  /** While the room is between two hosts. */
  #return: HostReturn | undefined;

  constructor(options: SignalSessionOptions) {
    this.#options = options;
    this.#around = options.surroundings;
  }

  get roomName(): string {
    return this.#options.join.roomName;
  }

  /** Never rejects. */
  async start(): Promise<void> {
    this.#deadline = setTimeout(() => this.#refuse(joinRefusal.noAnswer), this.#around.firstAnswerTimeoutMs);
    this.#options.client.onVanished(() => this.#endWaiting(0));
    await this.#tryHost();
  }

  /** Never rejects. */
  async #tryHost(): Promise<void> {
    this.#retry = undefined;
    try {
      await this.#askHost();
    } catch (error) {
      const refusal = toRefusal(error);
      this.#around.log[refusal.status === 500 ? 'error' : 'warn'](
        { err: error, roomName: this.#options.join.roomName },
        'join failed',
      );
      this.#refuse(refusal);
    }
  }

  accepted(frame: SignalFrame, participantSid: ParticipantSid | undefined): void {
    this.#participantSid = participantSid;
    if (this.#phase === 'waiting' && this.#open()) {
      this.send(frame);
    }
  }

  refused(status: number, body: string): void {
    // The host knows that it refused and needs no farewell.
    this.#channel?.detach();
    this.#channel = undefined;
    this.#refuse({ status, body });
  }

  notHere(): void {
    if (this.#return === undefined) {
      this.#searchAgain();
    } else {
      this.#return.searchAgain();
    }
  }

  attached(): void {
    this.#return?.attached();
  }

  legHome(nodeId: NodeId): void {
    this.#legHome = nodeId;
  }

  returned(message: Uint8Array): void {
    if (this.#return === undefined) {
      this.#channel?.send({ kind: 'signal', connectionId: this.#options.connectionId, message });
    } else {
      this.#return.returned(message);
    }
  }

  send(frame: SignalFrame): void {
    try {
      this.#socket?.send(frame);
    } catch (error) {
      // Only a frame that cannot be turned into JSON throws, and only a receiver of JSON is harmed.
      this.#around.log.error(
        { err: error, connectionId: this.#options.connectionId },
        'signal message could not be sent',
      );
      this.#socket?.close('bad-message');
    }
  }

  closeSocket(frame: CloseFrame): void {
    this.#refuse(joinRefusal.internal);
    this.#return?.close();
    this.#return = undefined;
    this.#socket?.closeForHost(frame);
  }

  /** Media that was on the lost node is lost too, and its client told at once; other sessions go on at the next host. */
  hostLost(loss: HostLoss): void {
    if (this.#phase === 'waiting') {
      this.#searchAgain();
      return;
    }
    const isMediaLost = loss.kind === 'node-lost' && (this.#legHome === undefined || this.#legHome === loss.nodeId);
    const next = loss.kind === 'room-moved' ? loss.next : undefined;
    if (this.#participantSid === undefined || isMediaLost) {
      this.#return?.close();
      this.#return = undefined;
      this.#reconnect();
    } else if (this.#return === undefined) {
      this.#channel?.detach();
      this.#channel = undefined;
      this.#goOnElsewhere(this.#participantSid, next);
    } else {
      this.#return.searchAgain(next);
    }
  }

  #reconnect(): void {
    this.#socket?.send(new SignalFrame(reconnectLeave(DisconnectReason.MIGRATION)));
    this.#socket?.close('host-lost');
  }

  #goOnElsewhere(participantSid: ParticipantSid, next: NodeId | undefined): void {
    const { hosts, links, log, hostGraceMs } = this.#around;
    const { connectionId } = this.#options;
    hosts.directory.forget(this.roomName);
    const hostReturn = new HostReturn({
      session: this,
      connectionId,
      participantSid,
      next,
      directory: hosts.directory,
      links,
      timings: { searchAgainMs, answerTimeoutMs: attachTimeoutMs, graceMs: hostGraceMs },
      log,
      attached: (channel) => {
        this.#return = undefined;
        this.#channel = channel;
      },
      givenUp: (why) => {
        log.info({ connectionId, roomName: this.roomName, why }, 'a session found no host and has to join anew');
        this.#return = undefined;
        this.#reconnect();
      },
    });
    this.#return = hostReturn;
    hostReturn.start();
  }

  /** The gateway stops; the client resumes or joins elsewhere. */
  gatewayClosed(): void {
    this.#refuse(joinRefusal.draining);
    this.#return?.close();
    this.#return = undefined;
    this.#socket?.close('gateway-shutdown');
  }

  /** What the directory said about the room was out of date; a room between two hosts is waited for. */
  #searchAgain(): void {
    this.#channel?.detach();
    this.#channel = undefined;
    this.#around.hosts.directory.forget(this.roomName);
    if (this.#phase !== 'waiting') {
      return;
    }
    if (performance.now() - this.#startedAtMs > this.#around.holdMs) {
      this.#refuse(joinRefusal.hostLost);
      return;
    }
    this.#retry = setTimeout(() => void this.#tryHost(), searchAgainMs);
  }

  async #askHost(): Promise<void> {
    const { join } = this.#options;
    const search = await findHost(join, this.#around.hosts);
    if (this.#phase !== 'waiting') {
      return;
    }
    switch (search.kind) {
      case 'found':
        this.#ask(search.nodeId);
        break;
      case 'refused':
        this.#refuse(search.refusal);
        break;
      case 'resumeLost':
        this.#answerLostResume();
        break;
      default:
        search satisfies never;
    }
  }

  #ask(nodeId: NodeId): void {
    const { join, connectionId } = this.#options;
    const channel = this.#around.links.attach(nodeId, connectionId, this);
    // A link that is dead on arrival has made us search again already.
    if (this.#phase === 'waiting' && this.#retry === undefined) {
      this.#channel = channel;
      channel.send({ kind: 'join', connectionId, join });
    }
  }

  /** Nobody is left who could say it, and the client needs the word to join anew. */
  #answerLostResume(): void {
    if (this.#open()) {
      this.send(new SignalFrame(reconnectLeave(DisconnectReason.STATE_MISMATCH)));
      this.#socket?.closeForHost({ code: 1000, reason: 'the room does not exist any more' });
    }
  }

  #open(): boolean {
    const webSocket = this.#options.client.upgrade(this.#around.webSockets);
    if (webSocket === undefined) {
      this.#endWaiting(0);
      return false;
    }
    clearTimeout(this.#deadline);
    this.#phase = 'open';
    this.#socket = new SignalSocket({
      socket: webSocket,
      queueLimitBytes: this.#around.queueLimitBytes,
      observer: this.#around.observer,
      onSignal: (message) => this.#say(message),
      onEnd: (end) => this.#socketEnded(end),
    });
    this.#around.keepAlive.add(this.#socket);
    this.#around.observer.socketOpened();
    this.#answered(101);
    return true;
  }

  #say(message: Uint8Array): void {
    if (this.#return === undefined) {
      this.#channel?.send({ kind: 'signal', connectionId: this.#options.connectionId, message });
    } else {
      this.#return.say(message);
    }
  }

  #refuse(refusal: HttpRefusal): void {
    if (this.#phase === 'waiting') {
      this.#options.client.refuse(refusal);
      this.#endWaiting(refusal.status);
    }
  }

  /** @param status of the answer; 0 when the client went away without one. */
  #endWaiting(status: number): void {
    if (this.#phase !== 'waiting') {
      return;
    }
    clearTimeout(this.#deadline);
    clearTimeout(this.#retry);
    this.#phase = 'ended';
    // To the host a join that nobody waits for any more is a client that left, whoever lost patience.
    this.#tellHost('client-closed');
    this.#answered(status);
    this.#options.onEnd();
  }

  #answered(status: number): void {
    this.#around.observer.joinAnswered(status, performance.now() - this.#startedAtMs);
    this.#options.onAnswered();
  }

  #socketEnded(end: SocketEnd): void {
    this.#phase = 'ended';
    if (this.#socket !== undefined) {
      this.#around.keepAlive.delete(this.#socket);
    }
    this.#tellHost(end);
    this.#around.observer.socketEnded(end);
    this.#around.log.debug({ connectionId: this.#options.connectionId, end }, 'signal socket ended');
    this.#options.onEnd();
  }

  #tellHost(end: SocketEnd): void {
    const cause = causeForHost(end);
    if (cause !== undefined && this.#return !== undefined) {
      // The next host gets to know.
      this.#return.socketEnded(cause);
      return;
    }
    if (cause !== undefined) {
      this.#channel?.send({ kind: 'socketClosed', connectionId: this.#options.connectionId, cause });
    }
    this.#channel?.detach();
  }
}
