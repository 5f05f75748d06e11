/** A client that offers a section to receive in (single peer connection) numbers its codecs and extensions itself. */
import {
  audioLevelUri,
  captureTimeUri,
  consumerCapabilities,
  dependencyDescriptorUri,
  midUri,
  repairedRidUri,
  ridUri,
  sendTimeUri,
  transportCcUri,
  workerExtensionIds,
} from './capabilities.ts';
import { isSameCodec } from './codec-policy.ts';
import { type Codec, type Extension, type Section, isRtx } from './description.ts';
import type { RtcpFeedback, RtpCapabilities, RtpCodecCapability, RtpHeaderExtension, RtpParameters } from './rtp.ts';

/** What a section has in common with the router, and how the client numbers it. */
export type ClientNumbers = {
  /** For mediasoup's `consume()`, in the router's numbers. */
  capabilities: RtpCapabilities;
  /** The client's payload type by the router's. */
  payloadTypes: ReadonlyMap<number, number>;
  /** The client's id by URI. */
  extensionIds: ReadonlyMap<string, number>;
};

/** Ids above fit only the long form of header extensions (RFC 8285 section 4.3), in which packets do not always come. */
const maxExtensionId = 14;

/** @param router all that the router can do */
export function readClientNumbers(
  section: Section,
  router: RtpCapabilities,
  options: { bandwidthEstimation: boolean },
): ClientNumbers {
  const payloadTypes = new Map<number, number>();
  const { codecs = [], headerExtensions = [] } = consumerCapabilities(router, options);
  const media: RtpCodecCapability[] = [];
  for (const capability of codecs) {
    const codec = section.codecs.find((each) => !isRtx(each) && isSameCodec(section, each, capability));
    if (codec !== undefined) {
      payloadTypes.set(capability.preferredPayloadType, codec.payloadType);
      media.push({ ...capability, rtcpFeedback: commonFeedback(capability.rtcpFeedback ?? [], codec, section.kind) });
    }
  }
  const repairs = codecs.filter((capability) => {
    const repaired = payloadTypes.get(Number(capability.parameters?.['apt'] ?? -1));
    const rtx = section.codecs.find((each) => isRtx(each) && each.parameters['apt'] === repaired);
    if (repaired === undefined || rtx === undefined || capability.kind !== section.kind) {
      return false;
    }
    payloadTypes.set(capability.preferredPayloadType, rtx.payloadType);
    return true;
  });
  const extensionIds = new Map<string, number>();
  const known = [...headerExtensions, dependencyDescriptor].filter(({ kind }) => kind === section.kind);
  const common = known.filter(({ uri }) => {
    const offered = section.extensions.find((extension) => extension.uri === uri && isReceived(extension));
    if (offered !== undefined) {
      extensionIds.set(uri, offered.id);
    }
    return offered !== undefined;
  });
  return {
    capabilities: { codecs: [...media, ...repairs], headerExtensions: common },
    payloadTypes,
    extensionIds,
  };
}

/** The worker forwards the descriptor to everybody, although mediasoup calls it receive-only. */
const dependencyDescriptor: RtpHeaderExtension = {
  kind: 'video',
  uri: dependencyDescriptorUri,
  preferredId: workerExtensionIds.dependencyDescriptor,
};

function isReceived({ id, direction }: Extension): boolean {
  return id <= maxExtensionId && direction !== 'sendonly' && direction !== 'inactive';
}

/** Chromium offers no `nack` for audio, yet asks for lost packets when the answer has it. */
function commonFeedback(known: readonly RtcpFeedback[], codec: Codec, kind: Section['kind']): RtcpFeedback[] {
  return known.filter(
    ({ type, parameter = '' }) =>
      (kind === 'audio' && type === 'nack') ||
      codec.feedback.some((offered) => offered.type === type && (offered.parameter ?? '') === parameter),
  );
}

/** What a consumer sends, as the client is told it. */
export function toClientParameters(parameters: RtpParameters, numbers: ClientNumbers): RtpParameters {
  return {
    ...parameters,
    codecs: parameters.codecs.map((codec) => {
      const { apt, ...others } = withoutOurs(codec.parameters ?? {});
      return {
        ...codec,
        payloadType: numbers.payloadTypes.get(codec.payloadType) ?? codec.payloadType,
        parameters: apt === undefined ? others : { ...others, apt: numbers.payloadTypes.get(Number(apt)) ?? apt },
      };
    }),
    headerExtensions: (parameters.headerExtensions ?? []).map(({ uri, id }) => ({
      uri,
      id: numbers.extensionIds.get(uri) ?? id,
    })),
  };
}

/** The parameter of codecs and extensions in which the worker gets the client's number. */
export const clientNumberKey = 'plenum-client-number';

function withoutOurs(parameters: Record<string, string | number>): Record<string, string | number> {
  const { [clientNumberKey]: _number, ...others } = parameters;
  return others;
}

/** All that a track may need, in either direction. */
const keptUris: ReadonlySet<string> = new Set([
  midUri,
  audioLevelUri,
  captureTimeUri,
  sendTimeUri,
  transportCcUri,
  ridUri,
  repairedRidUri,
  dependencyDescriptorUri,
]);

/**
 * Extensions of a section in which the client receives, as the answer keeps them. Chromium never again offers one that an
 * answer left out, on any section of the connection: without rid here, it could not offer simulcast beside.
 */
export function keptExtensions(section: Section): Extension[] {
  const kept = section.extensions.filter((extension) => keptUris.has(extension.uri) && isReceived(extension));
  return kept.map(({ id, uri }) => ({ id, uri }));
}
