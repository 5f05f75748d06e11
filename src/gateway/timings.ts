/** Every wait of the gateway, in milliseconds. */
export type GatewayTimings = {
  /** From the upgrade request to the room's first answer; livekit-client itself gives up on the socket after 15 s. */
  firstAnswerTimeoutMs: number;
  /** For which joins are held while their room is between two hosts; then they get 503 and come again. */
  holdMs: number;
  /** How long open sockets are kept while their room has no host; as long as legs go on. */
  hostGraceMs: number;
  /** Between WebSocket ping frames. */
  pingIntervalMs: number;
  /** Silence (no message, ping or pong) after which a socket counts as dead. */
  pingTimeoutMs: number;
  /** For the other side to take note of a close frame before the connection is cut. */
  closeGraceMs: number;
  /** For a complete request line and headers; also ends connections that never say anything. */
  headersTimeoutMs: number;
  /** For a complete request with its body. */
  requestTimeoutMs: number;
  /** For a connection on which nothing moves while an answer is being written. */
  idleTimeoutMs: number;
  /** For a Twirp call to be carried out. */
  twirpTimeoutMs: number;
};

export const defaultTimings: GatewayTimings = {
  firstAnswerTimeoutMs: 10_000,
  holdMs: 2_000,
  hostGraceMs: 60_000,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 15_000,
  closeGraceMs: 2_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  idleTimeoutMs: 75_000,
  twirpTimeoutMs: 60_000,
};
