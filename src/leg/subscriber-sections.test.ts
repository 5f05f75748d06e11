import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MediaConsumer } from '../media/media-consumer.ts';
import type { ParticipantSid, TrackSid } from '../protocol/ids.ts';
import type { MediaKind, WantedSubscription } from '../protocol/leg-messages.ts';
import { SubscriberSections, type Held } from './subscriber-sections.ts';

function want(trackSid: string, kind: MediaKind = 'video'): WantedSubscription {
  return {
    trackSid: trackSid as TrackSid,
    publisherSid: 'PA_1' as ParticipantSid,
    streamId: `PA_1|${trackSid}`,
    kind,
    producerId: `${trackSid}:1`,
    home: { nodeId: 'ND_1', workerIndex: 0 },
    paused: false,
    quality: 2,
    maxFps: 0,
    priority: 0,
  } as WantedSubscription;
}

/** As much of a consumer as sections look at. */
function consumer(): MediaConsumer {
  return { rtpParameters: { codecs: [] }, close: () => {} } as unknown as MediaConsumer;
}

function open(sections: SubscriberSections, wanted: WantedSubscription): Held {
  const held = sections.open(wanted, false);
  assert.ok(held, 'no section is left');
  return held;
}

function subscribe(sections: SubscriberSections, wanted: WantedSubscription): void {
  sections.attach(open(sections, wanted), consumer());
}

/** Offers, and lets the client accept what is offered. */
function negotiate(sections: SubscriberSections): string[] {
  const { slots } = sections.offer();
  const live = slots.filter(({ retired }) => retired !== true);
  const rejected = slots.filter(({ retired }) => retired === true);
  sections.answered({
    accepted: new Set(live.map(({ mid }) => mid)),
    rejected: new Set(rejected.map(({ mid }) => mid)),
  });
  return slots.map(({ mid, track, retired }) => `${mid}:${retired === true ? 'retired' : (track?.trackId ?? 'idle')}`);
}

describe('sections of a subscriber', () => {
  it('serve the same track again after it rested', () => {
    const sections = new SubscriberSections({ retires: false });
    subscribe(sections, want('TR_1'));
    assert.deepEqual(negotiate(sections), ['1:TR_1']);
    sections.close('TR_1');
    assert.deepEqual(negotiate(sections), ['1:idle']);
    subscribe(sections, want('TR_1'));
    assert.deepEqual(negotiate(sections), ['1:TR_1']);
  });

  it('that retire leave their place in the description to the next one', () => {
    const sections = new SubscriberSections({ retires: true });
    subscribe(sections, want('TR_1'));
    subscribe(sections, want('TR_2'));
    assert.deepEqual(negotiate(sections), ['1:TR_1', '2:TR_2']);
    sections.close('TR_1');
    assert.deepEqual(negotiate(sections), ['1:retired', '2:TR_2']);
    const pending = open(sections, want('TR_1'));
    assert.deepEqual(negotiate(sections), ['1:retired', '2:TR_2'], 'no consumer yet');
    sections.attach(pending, consumer());
    assert.deepEqual(negotiate(sections), ['3:TR_1', '2:TR_2']);
    subscribe(sections, want('TR_3', 'audio'));
    assert.deepEqual(negotiate(sections), ['3:TR_1', '2:TR_2', '4:TR_3']);
  });

  it('that retire stay in place while an offer with their end is lost', () => {
    const sections = new SubscriberSections({ retires: true });
    subscribe(sections, want('TR_1'));
    negotiate(sections);
    sections.close('TR_1');
    sections.offer();
    sections.dropOffer();
    subscribe(sections, want('TR_1'));
    assert.deepEqual(negotiate(sections), ['1:retired', '2:TR_1']);
  });
});
