import type { MediaConsumer } from '../media/media-consumer.ts';
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

/** How a subscriber finds what it can consume on its worker. */
export interface ConsumableProducers {
  producer(producerId: string): PublishedProducer | undefined;
  /** A consumer of such a producer starts or stops to take it; to be called whenever that changes. Its close counts as stop. */
  setTaken(consumer: MediaConsumer, taken: boolean): void;
}

/** How legs make the producers of their room known. */
export interface ProducerDirectory {
  producer(producerId: string): PublishedProducer | undefined;
  addProducer(producer: PublishedProducer): void;
  removeProducer(producerId: string): void;
}
