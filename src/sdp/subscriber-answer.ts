/** Reads a client's answer to a subscriber offer: its transport, and which of the offered tracks it takes. */
import { type Section, type SessionDescription, isReceiving } from './description.ts';
import { answerMismatch } from './errors.ts';
import { type SubscriberSlot, dataMid, probatorMid } from './offer.ts';
import { type RemoteTransport, readRemoteTransport } from './transport.ts';

export type SubscriberAnswer = {
  transport: RemoteTransport;
  /** Mids of carrying slots that the client receives. */
  accepted: Set<string>;
  /** Mids of carrying slots that it does not: section rejected, inactive, or without the offered codec. */
  refused: Set<string>;
  /** Whether the data section was accepted; false when none was offered. */
  data: boolean;
};

/**
 * @param options.offered the layout of the offer that is answered, as given to `formatSubscriberOffer`.
 * @throws PlenumError `sdp-answer-mismatch` when sections are missing or in another order; `sdp-missing-ice`,
 *   `sdp-missing-dtls` or `sdp-not-bundled` when no section is left to connect.
 */
export function readSubscriberAnswer(options: {
  answer: SessionDescription;
  offered: { data: boolean; probator: boolean; slots: readonly SubscriberSlot[] };
}): SubscriberAnswer {
  const { answer, offered } = options;
  const mids = [
    ...(offered.data ? [dataMid] : []),
    ...(offered.probator ? [probatorMid] : []),
    ...offered.slots.map((slot) => slot.mid),
  ];
  // RFC 3264 section 6: as many sections as offered, in the same order.
  if (mids.length !== answer.sections.length) {
    throw answerMismatch(`${mids.length} sections were offered, ${answer.sections.length} answered`);
  }
  const wrong = mids.findIndex((mid, index) => answer.sections[index]?.mid !== mid);
  if (wrong !== -1) {
    throw answerMismatch(`section ${wrong} has another mid`);
  }
  const result: SubscriberAnswer = {
    transport: readRemoteTransport(answer),
    accepted: new Set(),
    refused: new Set(),
    data: offered.data && answer.sections[0]?.rejected === false,
  };
  const firstSlot = mids.length - offered.slots.length;
  for (const [index, slot] of offered.slots.entries()) {
    const section = answer.sections[firstSlot + index];
    if (slot.track !== undefined && section !== undefined) {
      (isTaken(section, slot) ? result.accepted : result.refused).add(slot.mid);
    }
  }
  return result;
}

function isTaken(section: Section, slot: SubscriberSlot): boolean {
  const payloadType = slot.rtpParameters.codecs[0]?.payloadType;
  return isReceiving(section) && section.codecs.some((codec) => codec.payloadType === payloadType);
}
