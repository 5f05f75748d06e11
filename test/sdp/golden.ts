/** Reads the recordings of `record.ts`: what clients offered and answered, and what they had announced. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { SubscriberSlot } from '../../src/sdp/offer.ts';
import type { PublicationWish } from '../../src/sdp/publish.ts';

export type Wish = PublicationWish & { cid: string };

export type GoldenOffer = { name: string; sdp: string; wishes: Wish[] };

export type GoldenSubscriberAnswer = { name: string; sdp: string; slots: SubscriberSlot[] };

export const goldenDirectory = join(import.meta.dirname, 'golden');

export function goldenOffers(): GoldenOffer[] {
  return names('.offer.sdp').map((name) => {
    const { wishes } = JSON.parse(readGolden(`${name}.offer.json`)) as { wishes: Wish[] };
    return { name, sdp: readGolden(`${name}.offer.sdp`), wishes };
  });
}

export function goldenSubscriberAnswers(): GoldenSubscriberAnswer[] {
  return names('.subscriber-answer.sdp').map((name) => {
    const { slots } = JSON.parse(readGolden(`${name}.subscriber-answer.json`)) as { slots: SubscriberSlot[] };
    return { name, sdp: readGolden(`${name}.subscriber-answer.sdp`), slots };
  });
}

export function readGolden(file: string): string {
  return readFileSync(join(goldenDirectory, file), 'utf8');
}

function names(suffix: string): string[] {
  return readdirSync(goldenDirectory)
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length))
    .toSorted();
}
