/**
 * What two nodes that carry legs of the same rooms say to each other: media pipes and data packets. The node that wants
 * something, or sends data, opens the link and asks; the other one answers and tells what changed. A node that does both
 * has a link in each direction. Two workers of one node talk to each other in the same way.
 *
 * A pipe joins one router to another, for one room and in one direction, and carries any number of producers. Its id is the
 * choice of the receiving node and is never used again. All requests can be repeated.
 * Plain serialisable data only: these messages survive `structuredClone` and cross nodes unchanged.
 */
import type { RtpParameters } from '../sdp/rtp.ts';
import type { ProducerFacts } from '../subscription/layers.ts';
import type { MediaKind } from './leg-messages.ts';

/** Where one end of a pipe receives, and the key with which it encrypts what it sends. */
export type PipeEndpoint = { address: string; port: number; srtp: { cryptoSuite: string; keyBase64: string } };

/** A producer as its copy elsewhere is made. The copy has the same id. */
export type PipedTrack = {
  trackSid: string;
  kind: MediaKind;
  rtpParameters: RtpParameters;
  paused: boolean;
  facts: ProducerFacts;
};

/** A participant's packet, stamped and encoded by the sender's node. */
export type PeerPacket = {
  roomName: string;
  senderSid: string;
  /** The sender's own numbering of reliable packets; 0 = unnumbered. */
  sequence: number;
  /** The sender's node counts its reliable packets, numbered or not; grows, not always by one. 0 for lossy ones. */
  order: number;
  reliable: boolean;
  /** Identities and sids of those who may have it; empty = everybody. */
  destinations: string[];
  /** Only for those who may see metrics. */
  metrics: boolean;
  /** A protobuf `DataPacket`, or a packet of a data track. */
  packet: Uint8Array;
  /**
   * It is of a data track, and for those who receive that; its only destination is its sender, so that nodes which do not
   * know data tracks give it to nobody.
   */
  isFrame?: boolean;
};

export type HeldPipe = { pipeId: string; producerIds: string[] };

export type LegPeerRequest =
  /**
   * First on every link: the pipes that the sender still has; all others of it are over.
   * @param session a new one when the sender starts to number its data anew
   */
  | { kind: 'hold'; session: string; pipes: HeldPipe[] }
  /** Sends a producer through a pipe, which is made when there is none. Nothing flows before `flow`. */
  | {
      kind: 'pipe';
      requestId: number;
      roomName: string;
      /** Of the room; 0 = the sender does not know it yet. A lower one than the other node knows is refused. */
      epoch: number;
      pipeId: string;
      sourceWorkerIndex: number;
      producerId: string;
      /** The sender's end. */
      endpoint: PipeEndpoint;
    }
  /** Whether anybody takes the producer at the moment. */
  | { kind: 'flow'; pipeId: string; producerId: string; flows: boolean }
  | { kind: 'unpipe'; pipeId: string; producerId: string }
  | { kind: 'closePipe'; pipeId: string }
  /** Highest spatial layer that any leg of the sender's node takes; -1 = none does. At most 1/s per producer. */
  | { kind: 'wantedLayer'; roomName: string; producerId: string; layer: number }
  /** @param number counts the reliable packets of a session from 1; 0 for lossy ones, which are never sent again. */
  | { kind: 'data'; number: number; packet: PeerPacket };

export type PipeRefusal = 'no-room' | 'no-producer' | 'stale-epoch' | 'failed';

export type LegPeerReply =
  /** Answer to `hold`. @param dataNumber last reliable packet of that session that arrived */
  | { kind: 'held'; dataNumber: number }
  /** Answer to `pipe`, with the answering node's end. */
  | { kind: 'piped'; requestId: number; endpoint: PipeEndpoint; track: PipedTrack }
  | { kind: 'refused'; requestId: number; reason: PipeRefusal; detail: string }
  | { kind: 'producerPaused'; pipeId: string; producerId: string; paused: boolean }
  | { kind: 'producerClosed'; pipeId: string; producerId: string }
  /** The worker or the room on the answering node is gone, and the pipe with it. */
  | { kind: 'pipeClosed'; pipeId: string }
  /** Reliable packets up to this one arrived. */
  | { kind: 'dataArrived'; dataNumber: number };
