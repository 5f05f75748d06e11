/**
 * What a leg has to know of its predecessor so that the client sees the same two connections with other transports. Made by
 * the old leg, carried by the host, which does not look into it.
 */
import type { AcceptedSection, PublicationPlan } from '../sdp/publish.ts';
import type { RtpParameters } from '../sdp/rtp.ts';
import type { ProducerHome, MediaKind, WantedSubscription } from './leg-messages.ts';

/** A section of the subscriber's description, as `SlotTable` keeps it. */
export type SlotSnapshot = {
  mid: string;
  kind: MediaKind;
  phase: 'taken' | 'draining' | 'free' | 'dead';
  trackSid?: string;
  replaces?: string;
  exposed: boolean;
};

export type SubscriberSnapshot = {
  /** Of the `o=` line (RFC 8866 section 5.2), as is the version. */
  sessionId: string;
  sdpVersion: number;
  nextOfferId: number;
  nextMid: number;
  slots: SlotSnapshot[];
  /** Mids in the order of their sections. */
  order: string[];
  /** Codecs and extensions of each section as last offered. */
  media: { mid: string; kind: MediaKind; rtpParameters: RtpParameters }[];
  subscriptions: { mid: string; producerId: string; transportCc: boolean; want: WantedSubscription }[];
  refused: { trackSid: string; producerId: string }[];
  /** 0 = no cap. */
  bitrateCapBps: number;
  /** Labels of the server's data channels that the client has. */
  channels: string[];
  /** Of a single peer connection: the client's last offer, which has the sections and their numbers. */
  offer?: string;
};

export type PublicationSnapshot = {
  mid: string;
  cid: string;
  sdpCid: string;
  trackSid: string;
  /**
   * With the SSRCs that really came: a client stops writing rids and mids into its packets once they are acknowledged, and
   * no other end would ever know whose they are.
   */
  plan: PublicationPlan;
};

export type PublisherSnapshot = {
  sessionId: string;
  sdpVersion: number;
  publications: PublicationSnapshot[];
  /** How each section was last accepted. */
  remembered: { mid: string; accepted: AcceptedSection }[];
  /** The data section is there. */
  hasData: boolean;
  /** The client's channels; it does not open them again. */
  channels: { streamId: number; label: string }[];
};

export type LegSnapshot = {
  home: ProducerHome;
  subscriber: SubscriberSnapshot;
  /** Absent: there is no publisher connection. */
  publisher?: PublisherSnapshot;
};

/** How far reliable data has come. */
export type HeldData = {
  /** Of the participant's own packets: the last number up to which all were passed on. */
  lastReliableSequence: number;
  /** Its packets that came before others that are missing, as it sent them. */
  early?: Uint8Array[];
  /** `PeerPacket.order` of the last packet of this participant. */
  lastOrder: number;
  /** `PeerPacket.order` of the last packet of each sender that the old leg delivered. */
  delivered: { senderSid: string; order: number }[];
};
