/** Shapes that the parts of this folder share and that legs see. */

/** Why a media object is gone. `closed` is our own call; the others come from a parent or a source. */
export type MediaCloseReason = 'closed' | 'worker-died' | 'router-closed' | 'transport-closed' | 'producer-closed';

/** `temporal` left out: the highest. */
export type Layers = { spatial: number; temporal?: number };

/** RFC 6464 level turned positive: 0 = loudest, 127 = silence. */
export type ProducerLevel = { producerId: string; levelDbov: number };

/** The channels of the LiveKit protocol; the labels are what clients see. */
export type DataChannelLabel = '_reliable' | '_lossy' | '_data_track';

export const dataChannelLabels: readonly DataChannelLabel[] = ['_reliable', '_lossy', '_data_track'];

/** What the media folder needs of the configuration, addresses already resolved. */
export type MediaSettings = {
  workers: number;
  /** Local address of the media sockets. */
  listenAddress: string;
  /** Addresses told to clients, best first; never empty. */
  announcedAddresses: string[];
  portRangeStart: number;
  portRangeEnd: number;
  enableUdp: boolean;
  enableTcp: boolean;
  /** Seconds without ICE consent before a transport counts as disconnected. */
  iceConsentTimeoutSeconds: number;
  initialBitrateBps: number;
  /** How many microphones a router forwards at a time once it has `from` of them; 0 = all. */
  loudestAudio: { forwarded: number; from: number };
  /** Also where nothing can be adapted. */
  alwaysEstimatesBandwidth: boolean;
  /** Bytes of reliable data that may wait for one subscriber. */
  reliableQueueBytes: number;
  /** Where pipes between routers listen: an address that the other nodes reach, a port for each end. */
  pipes: { address: string; portRangeStart: number; portRangeEnd: number };
};

/** Larger data-channel messages are dropped and counted. Also what SDP has to state as `a=max-message-size`. */
export const maxMessageBytes = 262_144;
