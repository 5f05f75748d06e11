import type { types } from 'mediasoup';
import { clientNumberKey, type ClientNumbers } from '../sdp/client-numbers.ts';
import { dependencyDescriptorUri } from '../sdp/capabilities.ts';

type Consumable = types.RtpParameters;
type FoundProducer = {
  id: string;
  kind: types.MediaKind;
  type: types.ProducerType;
  consumableRtpParameters: Consumable;
};
type Finder = { getProducerById?: (producerId: string) => FoundProducer | undefined };

/**
 * Consumes for a client that numbers codecs and extensions itself. The engine derives a consumer from what its producer
 * can be consumed with, and passes the parameters of codecs and extensions on to the worker, which reads the numbers there.
 * The look-up of the producer is in the synchronous part of `consume`.
 */
export function consumeByNumbers(
  transport: types.WebRtcTransport,
  options: types.ConsumerOptions,
  numbers: ClientNumbers,
): Promise<types.Consumer> {
  const finder = transport as unknown as Finder;
  const find = finder.getProducerById;
  if (typeof find !== 'function') {
    throw new TypeError('this version of mediasoup has no getProducerById to replace');
  }
  finder.getProducerById = (producerId) => {
    const producer = find(producerId);
    if (producer === undefined) {
      return undefined;
    }
    const { id, kind, type, consumableRtpParameters } = producer;
    return { id, kind, type, consumableRtpParameters: withNumbers(consumableRtpParameters, numbers) };
  };
  try {
    return transport.consume({ ...options, rtpCapabilities: numbers.capabilities as types.RtpCapabilities });
  } finally {
    finder.getProducerById = find;
  }
}

function withNumbers(consumable: Consumable, numbers: ClientNumbers): Consumable {
  const descriptor = numbers.capabilities.headerExtensions?.find(({ uri }) => uri === dependencyDescriptorUri);
  const extensions: types.RtpHeaderExtensionParameters[] = [
    ...(consumable.headerExtensions ?? []).filter(({ uri }) => uri !== dependencyDescriptorUri),
    ...(descriptor === undefined ? [] : [{ uri: descriptor.uri, id: descriptor.preferredId }]),
  ];
  return {
    ...consumable,
    codecs: consumable.codecs.flatMap((codec) => {
      const number = numbers.payloadTypes.get(codec.payloadType);
      return number === undefined ? [] : [{ ...codec, parameters: { ...codec.parameters, [clientNumberKey]: number } }];
    }),
    headerExtensions: extensions.map((extension) => {
      const number = numbers.extensionIds.get(extension.uri);
      return number === undefined
        ? extension
        : { ...extension, parameters: { ...extension.parameters, [clientNumberKey]: number } };
    }),
  };
}
