/** Why a connection did not get past the edge. */
export type EdgeRefusal =
  /** Past `limit.max_connections`. */
  | 'too-many'
  /** Past a limit of its address. */
  | 'address-limit'
  /** No TLS, or a malformed PROXY header. */
  | 'not-tls'
  /** Said too little for too long, or left. */
  | 'silent'
  /** No common version or cipher, or a broken handshake. */
  | 'handshake'
  /** No TURN server could be reached. */
  | 'no-turn';

/** What the edge tells whoever counts; methods must be quick and must not throw. */
export interface EdgeObserver {
  connectionOpened(): void;
  connectionClosed(): void;
  connectionRefused(why: EdgeRefusal): void;
  turnOpened(): void;
  turnClosed(): void;
}
