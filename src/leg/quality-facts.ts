/** What the quality reporter has to know of the tracks of a leg, by the id of producer or consumer. */
import type { PublisherPeer } from './publisher-peer.ts';
import { isLayered, type PublishedTrackFacts, type SubscribedTrackFacts } from './quality-reporter.ts';
import type { SubscriberPeer } from './subscriber-peer.ts';

type Values<Of> = Of extends ReadonlyMap<unknown, infer Value> ? Value : never;

export function publishedFacts(
  published: Iterable<Values<PublisherPeer['published']>>,
  room: { highestWantedLayer: (producerId: string) => number },
): Map<string, PublishedTrackFacts> {
  const facts = new Map<string, PublishedTrackFacts>();
  for (const { trackSid, producer, plan } of published) {
    facts.set(producer.id, { trackSid, svc: plan.svc, wantedLayer: room.highestWantedLayer(producer.id) });
  }
  return facts;
}

export function subscribedFacts(held: Iterable<Values<SubscriberPeer['held']>>): Map<string, SubscribedTrackFacts> {
  const facts = new Map<string, SubscribedTrackFacts>();
  for (const { trackSid, consumer, applied, bound } of held) {
    if (consumer !== undefined && bound) {
      facts.set(consumer.id, { trackSid, wantedLayer: applied?.spatial ?? 0, layered: isLayered(consumer) });
    }
  }
  return facts;
}
