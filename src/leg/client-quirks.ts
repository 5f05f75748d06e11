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

/**
 * A track that the application of livekit-ffi 0.12 unsubscribed and subscribed again is never reported when it comes back
 * in a section that it was in before, although it is received. It is in a new section.
 */
export function missesReturningTracks(client: ClientFacts): boolean {
  return rustSdks.has(client.sdk);
}

/** livekit-ffi 0.12 notices that a reliable packet came a second time, and hands it over all the same. */
export function handsOverRepeats(client: ClientFacts): boolean {
  return rustSdks.has(client.sdk);
}
