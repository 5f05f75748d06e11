/** Which clients bring libwebrtc as it is tried here: livekit-client in Chromium and its like, and SDKs on the Rust core. */
import { ClientInfo_SDK } from '@livekit/protocol';
import type { ClientFacts } from './session-messages.ts';

/** SDKs on the Rust core, which brings its own libwebrtc. */
const rustSdks: ReadonlySet<ClientInfo_SDK> = new Set([
  ClientInfo_SDK.RUST,
  ClientInfo_SDK.NODE,
  ClientInfo_SDK.PYTHON,
  ClientInfo_SDK.CPP,
]);

/** Of livekit-client: browsers with libwebrtc as Chromium has it. On iOS every browser is Safari inside. */
const browsers: ReadonlySet<string> = new Set([
  'chrome',
  'headlesschrome',
  'chrome mobile',
  'edge',
  'opera',
  'samsung internet',
]);

export function usesLibwebrtc(client: ClientFacts): boolean {
  if (client.sdk === ClientInfo_SDK.JS) {
    return browsers.has(client.browser.toLowerCase()) && client.os.toLowerCase() !== 'ios';
  }
  return rustSdks.has(client.sdk);
}
