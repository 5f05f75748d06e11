import type { types } from 'mediasoup';
import { dependencyDescriptorUri, midUri, sendTimeUri, transportCcUri } from '../sdp/capabilities.ts';
import type { RtpCapabilities, RtpParameters } from '../sdp/rtp.ts';

type BaseTransport = {
  consume?: (this: types.PipeTransport, options: types.ConsumerOptions) => Promise<types.Consumer>;
};

/** Mids and bandwidth estimation belong to one transport; the far side makes its own. */
const hopByHop = new Set<string>([midUri, sendTimeUri, transportCcUri]);

/**
 * Consumes all streams of a producer, paused. The engine's own `PipeTransport.consume` starts at once, and with it goes a
 * key-frame request at a time when nobody on the far side can take the frame; the publisher ignores the next request for
 * a second, and that second would be the first subscriber's. The method of the class that all transports share can start
 * paused.
 * @param capabilities of the router
 */
export function consumeForPipe(
  transport: types.PipeTransport,
  producerId: string,
  capabilities: RtpCapabilities,
): Promise<types.Consumer> {
  const { consume } = Object.getPrototypeOf(Object.getPrototypeOf(transport)) as BaseTransport;
  if (typeof consume !== 'function') {
    throw new TypeError('this version of mediasoup has no Transport.consume below PipeTransport');
  }
  return consume.call(transport, {
    producerId,
    paused: true,
    pipe: true,
    enableRtx: true,
    rtpCapabilities: pipeCapabilities(capabilities) as types.RtpCapabilities,
  });
}

/** What the far side has to know to receive: the descriptor is in the packets, though no consumer is told of it. */
export function pipedParameters(consumer: types.Consumer, capabilities: RtpCapabilities): RtpParameters {
  const { mid, codecs, headerExtensions = [], encodings = [], rtcp } = consumer.rtpParameters as RtpParameters;
  const descriptor = (capabilities.headerExtensions ?? []).find(
    ({ kind, uri }) => kind === consumer.kind && uri === dependencyDescriptorUri,
  );
  return {
    ...(mid === undefined ? {} : { mid }),
    codecs,
    headerExtensions: [
      ...headerExtensions,
      ...(descriptor === undefined ? [] : [{ uri: descriptor.uri, id: descriptor.preferredId }]),
    ],
    encodings,
    ...(rtcp === undefined ? {} : { rtcp }),
  };
}

function pipeCapabilities(router: RtpCapabilities): RtpCapabilities {
  return {
    codecs: (router.codecs ?? []).map((codec) => ({
      ...codec,
      rtcpFeedback: (codec.rtcpFeedback ?? []).filter(({ type }) => type === 'nack' || type === 'ccm'),
    })),
    headerExtensions: (router.headerExtensions ?? []).filter(({ uri }) => !hopByHop.has(uri)),
  };
}
