/** Which RTP streams of a publication have really come, as its next producer has to be told. */
import type { ProducerLayerStats } from '../media/transport-stats.ts';
import type { RtpParameters } from '../sdp/rtp.ts';

/**
 * A client leaves rid and mid out of its packets once they are acknowledged, and its description of simulcast names no
 * SSRCs, so a new producer would not know whose the packets are.
 */
export function withKnownStreams(
  rtpParameters: RtpParameters,
  streams: readonly Pick<ProducerLayerStats, 'ssrc' | 'rid' | 'rtxSsrc'>[],
): RtpParameters {
  const encodings = rtpParameters.encodings ?? [];
  const only = encodings.length === 1 && streams.length === 1 ? streams[0] : undefined;
  return {
    ...rtpParameters,
    encodings: encodings.map((encoding) => {
      const stream =
        only ??
        streams.find(({ ssrc, rid }) => (encoding.rid === undefined ? ssrc === encoding.ssrc : rid === encoding.rid));
      if (stream === undefined) {
        return encoding;
      }
      const rtxSsrc = stream.rtxSsrc ?? encoding.rtx?.ssrc;
      return { ...encoding, ssrc: stream.ssrc, ...(rtxSsrc === undefined ? {} : { rtx: { ssrc: rtxSsrc } }) };
    }),
  };
}
