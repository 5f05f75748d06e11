/** Every wait of the edge, in milliseconds. */
export type EdgeTimings = {
  /** From the connection to a complete ClientHello, and from the handshake to the first byte of a client without ALPN. */
  openingTimeoutMs: number;
  handshakeTimeoutMs: number;
  /** To reach a TURN server. */
  connectTimeoutMs: number;
  /** For a TURN connection on which nothing moves; clients refresh their allocations at least every ten minutes. */
  turnIdleTimeoutMs: number;
};

export const defaultEdgeTimings: EdgeTimings = {
  openingTimeoutMs: 10_000,
  handshakeTimeoutMs: 10_000,
  connectTimeoutMs: 2_000,
  turnIdleTimeoutMs: 900_000,
};
