import type { types } from 'mediasoup';

export type StreamIdDictate = {
  /** Runs `consumeData` with this SCTP stream id instead of the engine's own choice. */
  consumeData(streamId: number, options: types.DataConsumerOptions): Promise<types.DataConsumer>;
};

/**
 * The engine numbers outgoing SCTP streams by itself, but a data channel's id has to be odd or even by DTLS role, and an
 * answer has to go back on the client's own id. `allocateSctpStreamId` is called in the synchronous part of `consumeData`.
 * Replacing it also saves the 64 KB table that the original allocates for each transport.
 */
export function dictateStreamIds(transport: types.WebRtcTransport): StreamIdDictate {
  const allocator = transport as unknown as { allocateSctpStreamId?: () => number };
  if (typeof allocator.allocateSctpStreamId !== 'function') {
    throw new TypeError('this version of mediasoup has no allocateSctpStreamId to replace');
  }
  return {
    consumeData(streamId, options) {
      allocator.allocateSctpStreamId = () => streamId;
      return transport.consumeData(options);
    },
  };
}
