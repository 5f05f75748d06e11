/** Which clients can be moved to other transports without a reconnect. */
import { ClientInfo_SDK } from '@livekit/protocol';
import type { ClientFacts } from '../protocol/session-messages.ts';

/** SDKs on the Rust core, which brings its own libwebrtc. */
const rustSdks: ReadonlySet<ClientInfo_SDK> = new Set([
  ClientInfo_SDK.RUST,
  ClientInfo_SDK.NODE,
  ClientInfo_SDK.PYTHON,
  ClientInfo_SDK.CPP,
]);

/** Of livekit-client: browsers with libwebrtc as Chromium has it. On iOS every browser is Safari inside. */
const movableBrowsers: ReadonlySet<string> = new Set([
  'chrome',
  'headlesschrome',
  'chrome mobile',
  'edge',
  'opera',
  'samsung internet',
]);

/** From here on clients number reliable data and drop what they have had, so that it may be sent twice during a move. */
const numberingProtocol = 16;

/**
 * A move gives a connection another certificate, which means a new DTLS handshake (RFC 8842 section 5.5). Seen to work are
 * livekit-client in Chromium and the Rust core; LiveKit says that Firefox does not; Pion (Go) has no DTLS restart. Whoever
 * was not tried is told to reconnect, which works with every client.
 */
export function acceptsMove(client: ClientFacts): boolean {
  if (client.protocol < numberingProtocol) {
    return false;
  }
  if (client.sdk === ClientInfo_SDK.JS) {
    return movableBrowsers.has(client.browser.toLowerCase()) && client.os.toLowerCase() !== 'ios';
  }
  return rustSdks.has(client.sdk);
}
