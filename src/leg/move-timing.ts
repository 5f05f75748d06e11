/** Bounds of the steps of a move. */
export const moveTiming = {
  /** Nobody may be left to take back what was made ready, e.g. when the host and the leader of a drain are lost. */
  waitingLifeMs: 20_000,
  /** What is under way on the old leg gets so long to end. */
  holdTimeoutMs: 1000,
  /** A round trip or two: a client that is coming back sends nothing new. */
  silenceMs: 100,
  /** Of data at other nodes; one that takes longer is about to be given up. */
  arrivalTimeoutMs: 500,
  /** Of a client that goes on to send to a leg that has ended; it travels by way of the host. */
  maxLateBytes: 1 << 20,
  /** Clients tell what they have received right after the answer to a resume. */
  stateTimeoutMs: 3000,
} as const;
