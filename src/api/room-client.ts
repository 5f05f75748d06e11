/** Asks room hosts to carry out commands: one link per node, answers matched by request id. */
import type { HostConnector } from '../cluster/directory.ts';
import type { Link } from '../cluster/link.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { CommandResult, GatewayToHost, HostToGateway, RoomCommand } from '../protocol/session-messages.ts';
import { hostTooSlow, hostUnreachable, requestAborted, tooManyRequests } from './errors.ts';

export type RoomClientOptions = {
  connector: HostConnector;
  /** Commands that may wait for their answers; further ones are refused with `resource_exhausted`. */
  maxPending?: number;
};

export type RoomCall = {
  nodeId: NodeId;
  roomName: string;
  command: RoomCommand;
  timeoutMs: number;
  /** Aborted when nobody waits for the answer any more. */
  signal: AbortSignal;
};

type Pending = {
  link: HostLink;
  succeed: (result: CommandResult) => void;
  fail: (error: Error) => void;
};

type HostLink = Link<GatewayToHost, HostToGateway>;

export class RoomClient {
  readonly #connector: HostConnector;
  readonly #maxPending: number;
  readonly #links = new Map<NodeId, HostLink>();
  readonly #pending = new Map<number, Pending>();
  #lastRequestId = 0;
  #closed = false;

  constructor(options: RoomClientOptions) {
    this.#connector = options.connector;
    this.#maxPending = options.maxPending ?? 10_000;
  }

  /** Commands that wait for their answers. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /**
   * Resolves with the host's answer, which may itself be an error.
   * Rejects with `unavailable` when the link breaks, `deadline_exceeded`, `canceled` or `resource_exhausted`.
   */
  run(call: RoomCall): Promise<CommandResult> {
    if (this.#closed) {
      return Promise.reject(hostUnreachable());
    }
    if (call.signal.aborted) {
      return Promise.reject(requestAborted(call.signal));
    }
    if (this.#pending.size >= this.#maxPending) {
      return Promise.reject(tooManyRequests());
    }
    return new Promise((resolve, reject) => {
      const link = this.#linkTo(call.nodeId);
      this.#lastRequestId += 1;
      const requestId = this.#lastRequestId;
      const deadline = setTimeout(() => this.#pending.get(requestId)?.fail(hostTooSlow()), call.timeoutMs);
      const canceled = (): void => this.#pending.get(requestId)?.fail(requestAborted(call.signal));
      const forget = (): void => {
        clearTimeout(deadline);
        call.signal.removeEventListener('abort', canceled);
        this.#pending.delete(requestId);
      };
      this.#pending.set(requestId, {
        link,
        succeed: (result) => {
          forget();
          resolve(result);
        },
        fail: (error) => {
          forget();
          reject(error);
        },
      });
      call.signal.addEventListener('abort', canceled);
      link.send({ kind: 'command', requestId, roomName: call.roomName, command: call.command });
      if (this.#links.get(call.nodeId) !== link) {
        // The link broke while it was opened or by this very message.
        this.#pending.get(requestId)?.fail(hostUnreachable());
      }
    });
  }

  /** Ends all links; what waits is rejected with `unavailable`. Safe to call twice. */
  close(): void {
    this.#closed = true;
    for (const [nodeId, link] of this.#links) {
      link.close();
      this.#linkClosed(nodeId, link);
    }
  }

  #linkTo(nodeId: NodeId): HostLink {
    const existing = this.#links.get(nodeId);
    if (existing !== undefined) {
      return existing;
    }
    const link = this.#connector.connect(nodeId);
    this.#links.set(nodeId, link);
    link.onMessage((message) => this.#handleMessage(link, message));
    link.onClose(() => this.#linkClosed(nodeId, link));
    return link;
  }

  #handleMessage(link: HostLink, message: HostToGateway): void {
    if (message.kind !== 'commandResult') {
      return;
    }
    const pending = this.#pending.get(message.requestId);
    // A late answer finds nothing; one from another node than the one asked is not an answer.
    if (pending?.link === link) {
      pending.succeed(message.result);
    }
  }

  #linkClosed(nodeId: NodeId, link: HostLink): void {
    if (this.#links.get(nodeId) === link) {
      this.#links.delete(nodeId);
    }
    for (const pending of this.#pending.values()) {
      if (pending.link === link) {
        pending.fail(hostUnreachable());
      }
    }
  }
}
