/** Links between leg nodes of one process that can be cut, as those between machines can. */
import { legPeerReply, legPeerRequest } from '../../src/cluster/leg-peer-channel.ts';
import type { Link, LinkCloseReason } from '../../src/cluster/link.ts';
import { memoryLink } from '../../src/cluster/memory-link.ts';
import { decodeMessage, encodeMessage } from '../../src/cluster/wire-codec.ts';
import type { LegNode } from '../../src/leg/leg-node.ts';
import type { LegPeerConnector } from '../../src/leg/peer-client.ts';
import type { NodeId } from '../../src/protocol/ids.ts';
import type { LegPeerReply, LegPeerRequest } from '../../src/protocol/leg-peer-messages.ts';

/** One end; after `cut` nothing comes through and its owner hears `lost`. */
class CuttableLink<Out, In> implements Link<Out, In> {
  readonly #link: Link<Out, In>;
  #closed: ((reason: LinkCloseReason) => void) | undefined;
  #isCut = false;

  constructor(link: Link<Out, In>) {
    this.#link = link;
  }

  send(message: Out): void {
    if (!this.#isCut) this.#link.send(message);
  }

  onMessage(receive: (message: In) => void): void {
    this.#link.onMessage((message) => {
      if (!this.#isCut) receive(message);
    });
  }

  onClose(closed: (reason: LinkCloseReason) => void): void {
    this.#closed = closed;
    if (this.#isCut) closed('lost');
    else
      this.#link.onClose((reason) => {
        if (!this.#isCut) closed(reason);
      });
  }

  close(): void {
    if (!this.#isCut) this.#link.close();
  }

  cut(): void {
    if (!this.#isCut) {
      this.#isCut = true;
      this.#closed?.('lost');
    }
  }
}

type Joined = { from: NodeId; to: NodeId; cut: () => void };

export class PeerLinks {
  readonly messages: { from: NodeId; to: NodeId; message: LegPeerRequest | LegPeerReply }[] = [];
  readonly #nodes = new Map<NodeId, LegNode>();
  readonly #unreachable = new Set<NodeId>();
  #joined: Joined[] = [];

  add(nodeId: NodeId, node: LegNode): void {
    this.#nodes.set(nodeId, node);
    this.#unreachable.delete(nodeId);
  }

  connector(from: NodeId): LegPeerConnector {
    return { connect: (to) => this.#connect(from, to) };
  }

  /** Cuts every link of a node; new ones are refused until `restore`. */
  isolate(nodeId: NodeId): void {
    this.#unreachable.add(nodeId);
    this.cut(nodeId);
  }

  restore(nodeId: NodeId): void {
    this.#unreachable.delete(nodeId);
  }

  /** Cuts every link of a node once. */
  cut(nodeId: NodeId): void {
    const concerned = this.#joined.filter(({ from, to }) => from === nodeId || to === nodeId);
    this.#joined = this.#joined.filter((joined) => !concerned.includes(joined));
    for (const { cut } of concerned) cut();
  }

  #connect(from: NodeId, to: NodeId): Link<LegPeerRequest, LegPeerReply> {
    // What real links do with a message: it has to be plain data, of a shape that the other end knows.
    const record = <Message>(message: Message): Message => {
      const decoded = decodeMessage(encodeMessage(message));
      const copy = isRequest(decoded) ? legPeerRequest.read(decoded) : legPeerReply.read(decoded);
      if (copy === undefined) throw new Error(`unknown message ${JSON.stringify(message)}`);
      this.messages.push({ from, to, message: copy });
      return copy as Message;
    };
    const ends = memoryLink<LegPeerRequest, LegPeerReply>({ transfer: record });
    const client = new CuttableLink(ends[0]);
    const server = new CuttableLink(ends[1]);
    const node = this.#nodes.get(to);
    if (node === undefined || this.#unreachable.has(to) || this.#unreachable.has(from)) {
      client.cut();
      return client;
    }
    this.#joined.push({
      from,
      to,
      cut: () => {
        client.cut();
        server.cut();
      },
    });
    node.acceptPeer(from, server);
    return client;
  }
}

function isRequest(message: unknown): boolean {
  const kinds: readonly string[] = legPeerRequest.kinds;
  return kinds.includes((message as { kind: string }).kind);
}
