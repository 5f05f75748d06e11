/**
 * Direct connections between nodes, seen by their users: typed message channels to a node, over one connection per pair.
 * `TcpRelay` crosses machines, `MemoryRelay` stays in the process; one contract suite holds for both.
 *
 * Rules for messages that nodes of different versions exchange:
 * - A message of an unknown `kind` is dropped and counted; the link goes on.
 * - Unknown fields are kept, so that they survive a node that only passes a message on.
 * - A field that is added to a known kind is optional; its meaning and type never change, and neither do those of others.
 *   What cannot be said that way is a new `kind`, sent only to peers whose hello lists the feature.
 * - A known kind without one of its fields, or with one of another type, is a fault: the connection is closed.
 */
import type { NodeId } from '../protocol/ids.ts';
import type { Link } from './link.ts';
import type { EncodedMessage } from './wire-codec.ts';
import type { MessageTable } from './wire-table.ts';
import type { Check } from './wire-shape.ts';

/** A node and where its relay listens. The node must answer under this id: an address that another took over is refused. */
export type RelayPeer = { nodeId: NodeId; host: string; port: number };

/** What a node says about itself when a connection is made. */
export type RelayIdentity = {
  nodeId: NodeId;
  role: string;
  /** Version of the program, for people. What it can do is in `features`. */
  software: string;
  features: readonly string[];
};

/** The other end of a connection, and the protocol version that both speak. */
export type RelayPeerFacts = RelayIdentity & { protocol: number };

export interface RelayLink<Out, In> extends Link<Out, In> {
  /**
   * Never blocks. Messages past the bounds close the link with `overflow`; a closed link drops them. A message for many
   * nodes is wrapped once in an `EncodedMessage` and sent to each.
   * @param epoch of the room or record that the message speaks for; the receiver refuses lower ones with an `EpochGuard`.
   */
  send(message: Out | EncodedMessage<Out>, epoch?: number): void;
  /** Exactly one receiver. Messages that come before it is set wait, as they do while the link is paused. */
  onMessage(receive: (message: In, epoch: number | undefined) => void): void;
  /** Delivers nothing until `resume`. The sender's queue fills meanwhile and closes this link, and only this, when it is full. */
  pause(): void;
  resume(): void;
  /** Bytes that wait here to be sent; whoever sends what may be lost looks at it first. 0 for a link inside the process. */
  readonly queuedBytes: number;
}

/** What a channel is for: its name on the wire and everything that may be said on it. */
export type ChannelType<Params, ToServer extends KindMessage, ToClient extends KindMessage> = {
  name: string;
  params: Check<Params>;
  toServer: MessageTable<ToServer>;
  toClient: MessageTable<ToClient>;
};

export type KindMessage = { kind: string };

export type AcceptedChannel<Params, ToServer, ToClient> = {
  params: Params;
  link: RelayLink<ToClient, ToServer>;
  peer: RelayPeerFacts;
};

/**
 * Why a connection that stood is gone: `reset` the peer or the network ended it, `silent` nothing was heard for too long,
 * `bad-data` one of both sent what the other could not read.
 */
export type PeerLostCause = 'reset' | 'silent' | 'bad-data';

export type PeerLostListener = (nodeId: NodeId, cause: PeerLostCause) => void;

export interface RelayNetwork {
  /**
   * Opens a channel; what is sent meanwhile waits. When the node cannot be reached, is not of this cluster or does not serve
   * such channels, the link closes with `lost`. A lost link stays lost: opening it again, and when, is up to the caller.
   */
  open<Params, ToServer extends KindMessage, ToClient extends KindMessage>(
    peer: RelayPeer,
    type: ChannelType<Params, ToServer, ToClient>,
    params: Params,
  ): RelayLink<ToServer, ToClient>;
  /** Serves channels of a type, from now on. One server per type. */
  onChannel<Params, ToServer extends KindMessage, ToClient extends KindMessage>(
    type: ChannelType<Params, ToServer, ToClient>,
    accept: (channel: AcceptedChannel<Params, ToServer, ToClient>) => void,
  ): void;
  /**
   * Called when a connection that stood, in either direction, is lost; twice when there was one in each. A peer that says
   * goodbye is not lost.
   */
  onPeerLost(lost: PeerLostListener): void;
  /** Resolves when the node answered just now. Rejects with a PlenumError (`relay-…`) or with the signal's reason. */
  reach(peer: RelayPeer, signal: AbortSignal): Promise<RelayPeerFacts>;
  /** Closes every link with `closed` after what was sent, says goodbye, and waits a second at most. */
  close(): Promise<void>;
}

export type RelaySettings = {
  heartbeatIntervalMs: number;
  /** Heartbeats in a row without a sign of life after which a peer counts as dead. */
  heartbeatMisses: number;
  /** From dialling to the peer's hello. */
  connectTimeoutMs: number;
  /** What may be under way on one channel without having been taken by its receiver. */
  windowBytes: number;
  maxMessageBytes: number;
  /** What may wait on one channel, in one direction, before it is closed with `overflow`. */
  maxQueuedBytes: number;
  maxQueuedMessages: number;
  /** The same for all channels of a connection together; the channel that goes past it is the one that is closed. */
  maxConnectionQueuedBytes: number;
  maxChannels: number;
};

const kib = 1024;
const mib = 1024 * kib;

export const defaultRelaySettings: RelaySettings = {
  heartbeatIntervalMs: 500,
  heartbeatMisses: 4,
  connectTimeoutMs: 3_000,
  windowBytes: 512 * kib,
  // An API request body may have 10 MiB.
  maxMessageBytes: 16 * mib,
  maxQueuedBytes: 32 * mib,
  maxQueuedMessages: 100_000,
  maxConnectionQueuedBytes: 256 * mib,
  maxChannels: 4_096,
};
