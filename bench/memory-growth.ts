/** Does memory grow with what came and went? */
import { slope } from './statistics.ts';

/** Resident KB of the server by kind of process, after so many lives. */
export type MemorySample = { lives: number; byKind: Record<string, number> };

const groupSize = 5;

/**
 * KB of each kind of process for a life, over the second half: before, compiled code and the heap that Node keeps find
 * their size. Garbage makes single samples high, never low, so the lowest of each five count.
 */
export function growthPerLife(samples: readonly MemorySample[]): Record<string, number> {
  const late = samples.slice(Math.floor(samples.length / 2));
  const kinds = Object.keys(samples[0]?.byKind ?? {});
  return Object.fromEntries(kinds.map((kind) => [kind, slope(lowestOfGroups(late, kind))]));
}

function lowestOfGroups(samples: readonly MemorySample[], kind: string): { x: number; y: number }[] {
  const lowest: { x: number; y: number }[] = [];
  for (let index = 0; index < samples.length; index += groupSize) {
    const group = samples
      .slice(index, index + groupSize)
      .map(({ lives, byKind }) => ({ x: lives, y: byKind[kind] ?? 0 }));
    lowest.push(group.reduce((low, sample) => (sample.y < low.y ? sample : low)));
  }
  return lowest;
}

/** @param atMostKb for a life, in each kind of process */
export function judgeGrowth(
  growthKb: Readonly<Record<string, number>>,
  atMostKb: number,
): { isFlat: boolean; text: string } {
  const isFlat = Object.values(growthKb).every((kb) => kb <= atMostKb);
  const kinds = Object.entries(growthKb).map(([kind, kb]) => `${kind} ${kb.toFixed(2)}`);
  const rule = `${kinds.join(', ')} KB a life over the second half; flat is at most ${atMostKb}`;
  return { isFlat, text: `Memory ${isFlat ? 'is flat' : 'GROWS'}: ${rule}.` };
}
