import type { MediaProducer } from '../media/media-producer.ts';
import type { MediaKind } from '../protocol/leg-messages.ts';
import type { ProducerFacts } from '../subscription/layers.ts';

/** A producer that legs of its room on this node can consume. */
export type PublishedProducer = {
  producerId: string;
  trackSid: string;
  kind: MediaKind;
  workerIndex: number;
  facts: ProducerFacts;
  producer: MediaProducer;
};

/** How legs find the producers of their room. */
export interface ProducerDirectory {
  producer(producerId: string): PublishedProducer | undefined;
  addProducer(producer: PublishedProducer): void;
  removeProducer(producerId: string): void;
}
