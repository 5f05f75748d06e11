/** The shape of what one leg tells the next one. */
import type { WantedSubscription } from '../protocol/leg-messages.ts';
import type {
  HeldData,
  LegSnapshot,
  PublicationSnapshot,
  PublisherSnapshot,
  SlotSnapshot,
  SubscriberSnapshot,
} from '../protocol/leg-snapshot.ts';
import type { AcceptedSection, PublicationPlan, PublishedLayer } from '../sdp/publish.ts';
import { rtpParameters } from './leg-peer-channel.ts';
import { bytes, flag, isRecord, list, number, optional, shape, text, type Check } from './wire-shape.ts';

const slot = shape<SlotSnapshot>({
  mid: text,
  kind: text,
  phase: text,
  trackSid: optional(text),
  replaces: optional(text),
  exposed: flag,
});

const accepted = shape<AcceptedSection>({
  kind: text,
  codecs: list(isRecord),
  extensions: list(isRecord),
  rids: list(text),
});

const plan = shape<PublicationPlan>({
  kind: text,
  rtpParameters,
  mimeType: text,
  svc: flag,
  layers: list(shape<PublishedLayer>({ quality: number, rid: text, ssrc: number })),
  accepted,
});

const publisher = shape<PublisherSnapshot>({
  sessionId: text,
  sdpVersion: number,
  publications: list(shape<PublicationSnapshot>({ mid: text, cid: text, sdpCid: text, trackSid: text, plan })),
  remembered: list(shape<PublisherSnapshot['remembered'][number]>({ mid: text, accepted })),
  hasData: flag,
  channels: list(shape<PublisherSnapshot['channels'][number]>({ streamId: number, label: text })),
});

function subscriber(want: Check<WantedSubscription>): Check<SubscriberSnapshot> {
  return shape<SubscriberSnapshot>({
    sessionId: text,
    sdpVersion: number,
    nextOfferId: number,
    nextMid: number,
    slots: list(slot),
    order: list(text),
    media: list(shape<SubscriberSnapshot['media'][number]>({ mid: text, kind: text, rtpParameters })),
    subscriptions: list(
      shape<SubscriberSnapshot['subscriptions'][number]>({ mid: text, producerId: text, transportCc: flag, want }),
    ),
    refused: list(shape<SubscriberSnapshot['refused'][number]>({ trackSid: text, producerId: text })),
    bitrateCapBps: number,
    channels: list(text),
    offer: optional(text),
  });
}

/** @param want how a wanted subscription looks */
export function legSnapshot(want: Check<WantedSubscription>): Check<LegSnapshot> {
  return shape<LegSnapshot>({
    home: shape<LegSnapshot['home']>({ nodeId: text, workerIndex: number }),
    subscriber: subscriber(want),
    publisher: optional(publisher),
  });
}

export const heldData = shape<HeldData>({
  lastReliableSequence: number,
  early: optional(list(bytes)),
  lastOrder: number,
  delivered: list(shape<HeldData['delivered'][number]>({ senderSid: text, order: number })),
});
