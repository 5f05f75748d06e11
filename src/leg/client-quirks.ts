/** What clients need that their protocol number does not say. */
import { ClientInfo_SDK } from '@livekit/protocol';
import type { ClientFacts } from '../protocol/session-messages.ts';

/** SDKs on the core of livekit-ffi. */
const rustSdks: ReadonlySet<ClientInfo_SDK> = new Set([
  ClientInfo_SDK.RUST,
  ClientInfo_SDK.NODE,
  ClientInfo_SDK.PYTHON,
  ClientInfo_SDK.CPP,
  ClientInfo_SDK.UNITY,
]);

/** Since then clients know that a section may carry one track after another. */
const reuseProtocol = 4;

/**
 * A track that the application of livekit-ffi 0.12 unsubscribed and subscribed again is never reported when it comes back
 * in a section that it was in before, although it is received. Safari, which is every browser on iOS, and clients before
 * protocol 4 take no second track in a section at all. They get a new one.
 */
export function missesReturningTracks(client: ClientFacts): boolean {
  const isSafari = client.browser.toLowerCase() === 'safari' || client.os.toLowerCase() === 'ios';
  return rustSdks.has(client.sdk) || client.protocol < reuseProtocol || (isSafari && client.sdk === ClientInfo_SDK.JS);
}

/**
 * livekit-client before 2.15 fails to join when a section carries a track without a stream, as that for probes does. What
 * belongs to a stream of its own participant it leaves alone.
 */
export function missesStreamlessTracks(client: ClientFacts): boolean {
  const [major = 0, minor = 0] = client.version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  return client.sdk === ClientInfo_SDK.JS && (major < 2 || (major === 2 && minor < 15));
}

/** livekit-ffi 0.12 notices that a reliable packet came a second time, and hands it over all the same. */
export function handsOverRepeats(client: ClientFacts): boolean {
  return rustSdks.has(client.sdk);
}
