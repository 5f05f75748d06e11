import type { MediaKind } from '../protocol/leg-messages.ts';

/** What a leg's tracks moved since the last report, summed per direction as seen from the server. */
export type MediaTraffic = {
  direction: 'incoming' | 'outgoing';
  /** Without retransmissions. */
  packets: number;
  retransmittedPackets: number;
  /** Incoming retransmissions are included, outgoing ones are not. */
  sizeBytes: number;
  nackedPackets: number;
  plis: number;
  firs: number;
};

/** Why a data packet was not passed on. */
export type DataDropReason = 'not-allowed' | 'malformed' | 'duplicate' | 'too-large' | 'lossy-backlog' | 'peer-backlog';

/** What the legs tell whoever counts; methods must be quick and must not throw. */
export interface LegObserver {
  mediaMeasured(traffic: MediaTraffic): void;
  dataDropped(reason: DataDropReason, packets: number): void;
  /** A subscriber is given up because it does not take its reliable data. */
  slowSubscriberClosed(): void;
}

/** What all legs of a node carry right now. */
export type CarriedMedia = {
  published: Record<MediaKind, number>;
  /** Tracks whose subscribers accepted them. */
  subscribed: Record<MediaKind, number>;
  /** Tracks that came here from other workers and nodes, once for each worker. */
  copies: number;
  /** Reliable data that waits for subscribers. */
  queuedDataBytes: number;
};
