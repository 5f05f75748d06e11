/** From a subscriber's wish to layers of a producer, and whether a connection needs bandwidth estimation. */
import type { Quality } from '../protocol/leg-messages.ts';

/** What the leg has to know about a producer to serve it. */
export type ProducerFacts = {
  /** Quality of each spatial layer, low to high. Empty or one entry: nothing to choose from. */
  qualities: readonly Quality[];
  /** Temporal layers per spatial layer. */
  temporalLayers: number;
  /** Frames per second of the highest temporal layer. */
  maxFps: number;
};

export type LayerChoice = { spatialLayer: number; temporalLayer: number };

/** The largest layer that is not above the wanted quality, else the lowest. */
export function spatialLayerFor(qualities: readonly Quality[], wanted: Quality): number {
  let chosen = 0;
  for (const [index, quality] of qualities.entries()) {
    if (quality <= wanted) {
      chosen = index;
    }
  }
  return chosen;
}

/** Each temporal layer doubles the frame rate; the largest one within the bound is chosen, at least the base layer. */
export function temporalLayerFor(facts: ProducerFacts, maxFps: number): number {
  const top = Math.max(facts.temporalLayers - 1, 0);
  if (maxFps <= 0) {
    return top;
  }
  for (let layer = top; layer > 0; layer -= 1) {
    if (facts.maxFps / 2 ** (top - layer) <= maxFps) {
      return layer;
    }
  }
  return 0;
}

export function chooseLayers(facts: ProducerFacts, wish: { quality: Quality; maxFps: number }): LayerChoice {
  return {
    spatialLayer: spatialLayerFor(facts.qualities, wish.quality),
    temporalLayer: temporalLayerFor(facts, wish.maxFps),
  };
}

/** More than one spatial layer: bandwidth estimation has something to choose from. */
export function isAdaptable(facts: ProducerFacts): boolean {
  return facts.qualities.length > 1;
}
