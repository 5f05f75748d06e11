/** Which layer of a video track a subscriber is given. */
import type { DeclaredLayer, Quality } from '../protocol/leg-messages.ts';

/** What a subscriber asked for by UpdateTrackSettings. */
export type TrackSettings = {
  disabled: boolean;
  quality: Quality;
  /** 0 = not stated; with `height` it wins over `quality`. */
  width: number;
  height: number;
  /** 0 = no bound. */
  fps: number;
  priority: number;
};

/** Adaptive stream clients start low and ask for more once they know the size of the picture on screen. */
function initialQuality(adaptiveStream: boolean): Quality {
  return adaptiveStream ? 0 : 2;
}

/** The smallest declared layer that covers the wanted size, else the named quality; without settings the initial one. */
export function chooseQuality(
  layers: DeclaredLayer[],
  settings: TrackSettings | undefined,
  adaptiveStream: boolean,
): Quality {
  if (settings === undefined) {
    return initialQuality(adaptiveStream);
  }
  if (settings.width === 0 || settings.height === 0 || layers.length === 0) {
    return settings.quality;
  }
  return smallestCovering(layers, settings);
}

function smallestCovering(layers: DeclaredLayer[], settings: TrackSettings): Quality {
  const wanted = settings.width * settings.height;
  const ascending = layers.toSorted((a, b) => a.quality - b.quality);
  for (const layer of ascending) {
    // Areas, not edges: a rotated picture and letter-boxing keep the area about the same.
    if (layer.width * layer.height >= wanted) {
      return layer.quality;
    }
  }
  return ascending.at(-1)?.quality ?? 2;
}

/**
 * What is served first when bandwidth is short: LiveKit counts from 1, which is what a camera has, to 255, which is what a
 * shared screen has unless its viewer says otherwise. @returns 0 to 254, larger is first
 */
export function priorityOf(isScreen: boolean, asked: number): number {
  const priority = asked > 0 ? asked : isScreen ? 255 : 1;
  return Math.min(priority, 255) - 1;
}
