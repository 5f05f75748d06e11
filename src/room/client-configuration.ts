/** What is known to go wrong in certain clients, told to them in the join answer. */
import { ClientConfigSetting, ClientConfiguration, Codec, DisabledCodecs } from '@livekit/protocol';
import type { ClientFacts } from '../protocol/session-messages.ts';

/** Undefined when nothing has to be said. @param forceRelay media goes through TURN alone */
export function clientConfiguration(client: ClientFacts, forceRelay: boolean): ClientConfiguration | undefined {
  const codecs = disabledForBoth(client);
  const publish = disabledForPublishing(client);
  if (codecs.length === 0 && publish.length === 0 && !forceRelay) {
    return undefined;
  }
  return new ClientConfiguration({
    ...(forceRelay ? { forceRelay: ClientConfigSetting.ENABLED } : {}),
    disabledCodecs: new DisabledCodecs({
      codecs: codecs.map((mime) => new Codec({ mime })),
      publish: publish.map((mime) => new Codec({ mime })),
    }),
  });
}

/** Codecs that this client must not be offered for publishing. */
export function unpublishableCodecs(client: ClientFacts): string[] {
  return [...disabledForBoth(client), ...disabledForPublishing(client)];
}

function disabledForBoth(client: ClientFacts): string[] {
  // Safari announces AV1 on machines that decode it in software only, and stalls.
  return isBrowser(client, 'safari') ? ['video/AV1'] : [];
}

function disabledForPublishing(client: ClientFacts): string[] {
  if (isBrowser(client, 'safari') && isNewerThan(client.browserVersion, [18, 3])) {
    return ['video/VP9'];
  }
  const isFirefoxWithoutEncoder =
    isBrowser(client, 'firefox') && ['linux', 'android'].includes(client.os.toLowerCase());
  // The encoder of this Xiaomi phone produces broken pictures.
  if (isFirefoxWithoutEncoder || client.deviceModel.toUpperCase() === 'XIAOMI 2201117TI') {
    return ['video/H264'];
  }
  return [];
}

function isBrowser(client: ClientFacts, name: string): boolean {
  return client.browser.toLowerCase() === name;
}

/** @param than major and minor; further parts of the version do not count */
function isNewerThan(version: string, than: [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  return major > than[0] || (major === than[0] && minor > than[1]);
}

/** livekit-client before 1.6.3 does not know `reconnect` as the first message of a resume. */
export function knowsReconnect(client: ClientFacts): boolean {
  const js = 1;
  if (client.sdk !== js) {
    return true;
  }
  const [major = 0, minor = 0, patch = 0] = client.version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  return major * 1_000_000 + minor * 1_000 + patch >= 1_006_003;
}
