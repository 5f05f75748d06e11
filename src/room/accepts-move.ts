/** Which clients can be moved to other transports without a reconnect. */
import { usesLibwebrtc } from '../protocol/libwebrtc-clients.ts';
import type { ClientFacts } from '../protocol/session-messages.ts';

/** From here on clients number reliable data and drop what they have had, so that it may be sent twice during a move. */
const numberingProtocol = 16;

/**
 * A move gives a connection another certificate, which means a new DTLS handshake (RFC 8842 section 5.5). Seen to work are
 * livekit-client in Chromium and the Rust core; LiveKit says that Firefox does not; Pion (Go) has no DTLS restart. Whoever
 * was not tried is told to reconnect, which works with every client.
 */
export function acceptsMove(client: ClientFacts): boolean {
  return client.protocol >= numberingProtocol && usesLibwebrtc(client);
}
