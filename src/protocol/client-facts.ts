/** What a client says about itself in the query of `/rtc` (LiveKit `ClientInfo`). */
import { ClientInfo_Capability, ClientInfo_SDK } from '@livekit/protocol';
import type { ClientFacts } from './session-messages.ts';
import { parseUserAgent } from './user-agent.ts';

const sdkNumbers: ReadonlyMap<string, ClientInfo_SDK> = new Map([
  ['js', ClientInfo_SDK.JS],
  ['ios', ClientInfo_SDK.SWIFT],
  ['swift', ClientInfo_SDK.SWIFT],
  ['android', ClientInfo_SDK.ANDROID],
  ['flutter', ClientInfo_SDK.FLUTTER],
  ['go', ClientInfo_SDK.GO],
  ['unity', ClientInfo_SDK.UNITY],
  ['reactnative', ClientInfo_SDK.REACT_NATIVE],
  ['rust', ClientInfo_SDK.RUST],
  ['python', ClientInfo_SDK.PYTHON],
  ['cpp', ClientInfo_SDK.CPP],
  ['unityweb', ClientInfo_SDK.UNITY_WEB],
  ['node', ClientInfo_SDK.NODE],
  ['unreal', ClientInfo_SDK.UNREAL],
  ['esp32', ClientInfo_SDK.ESP32],
  ['dotnet', ClientInfo_SDK.DOTNET],
]);

/** SDKs that may run in a browser, whose `User-Agent` knows more than they say. */
const browserSdks: ReadonlySet<ClientInfo_SDK> = new Set([
  ClientInfo_SDK.UNKNOWN,
  ClientInfo_SDK.JS,
  ClientInfo_SDK.REACT_NATIVE,
  ClientInfo_SDK.FLUTTER,
  ClientInfo_SDK.UNITY,
]);

/** These texts are kept as long as the participant is there, so a client must not choose their size. */
const maxTextLength = 256;
export const maxCapabilities = 32;

export type ClientSource = {
  query: URLSearchParams;
  userAgent: string;
  /** The client's address as far as the gateway believes it. */
  address: string;
};

/** Never throws; what is missing or makes no sense becomes empty, 0 or unknown. */
export function parseClientFacts(source: ClientSource): ClientFacts {
  const { query } = source;
  const sdk = sdkNumbers.get(query.get('sdk')?.toLowerCase() ?? '') ?? ClientInfo_SDK.UNKNOWN;
  const facts: ClientFacts = {
    sdk,
    version: textParameter(query, 'version'),
    protocol: integerParameter(query, 'protocol'),
    clientProtocol: integerParameter(query, 'client_protocol'),
    os: textParameter(query, 'os'),
    osVersion: textParameter(query, 'os_version'),
    deviceModel: textParameter(query, 'device_model'),
    browser: textParameter(query, 'browser'),
    browserVersion: textParameter(query, 'browser_version'),
    network: textParameter(query, 'network'),
    address: source.address,
    capabilities: parseCapabilities(query.get('capabilities') ?? ''),
  };
  return withUserAgent(facts, source.userAgent);
}

/** What the client said itself wins; a version is only taken together with its name. */
export function withUserAgent(facts: ClientFacts, userAgent: string): ClientFacts {
  if (!browserSdks.has(facts.sdk)) {
    return facts;
  }
  const seen = parseUserAgent(userAgent);
  return {
    ...facts,
    ...(facts.browser === '' ? { browser: seen.browser, browserVersion: seen.browserVersion } : {}),
    ...(facts.os === '' ? { os: seen.os, osVersion: seen.osVersion } : {}),
    ...(facts.deviceModel === '' ? { deviceModel: seen.deviceModel } : {}),
  };
}

function parseCapabilities(list: string): number[] {
  const numbers = new Set<number>();
  for (const name of list.split(',', maxCapabilities)) {
    const key = name.trim();
    const value = Object.hasOwn(ClientInfo_Capability, key)
      ? ClientInfo_Capability[key as keyof typeof ClientInfo_Capability]
      : undefined;
    if (typeof value === 'number' && value !== ClientInfo_Capability.CAP_UNUSED) {
      numbers.add(value);
    }
  }
  return [...numbers];
}

function textParameter(query: URLSearchParams, name: string): string {
  return limitText(query.get(name) ?? '');
}

export function limitText(text: string): string {
  return text.slice(0, maxTextLength);
}

/** A protobuf int32 that is not negative; anything else is 0. */
export function integerParameter(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? '';
  const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  return value <= 0x7fff_ffff ? value : 0;
}
