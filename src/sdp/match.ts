/** Finds out which announced track (AddTrack) each section that a client sends belongs to. */
import { type Section, isSending } from './description.ts';
import type { MediaKind } from './rtp.ts';

/** An announced codec of a track that has no producer yet. Entries with an empty `cid` (announced backups) never match. */
export type PendingWish = { kind: MediaKind; cid: string };

/** A section that has its producer, and the track part of its `a=msid` when that was made. */
export type BoundSection = { sdpCid: string };

export type SectionMatch<Wish> = {
  section: Section;
  wish: Wish;
  /** The track part of the section's `a=msid`, which may differ from the announced `cid`; the `cid` when there is none. */
  sdpCid: string;
};

/**
 * Pairs sections with announced codecs, each at most once: first by `cid` equal to the track part of `a=msid`, then the
 * rest in order within a kind, because Firefox and the mobile SDKs may write another id than they announced.
 * A bound section is left alone unless its track id changed and the new one was announced (its transceiver was reused).
 */
export function matchSections<Wish extends PendingWish>(options: {
  sections: readonly Section[];
  wishes: readonly Wish[];
  bound: ReadonlyMap<string, BoundSection>;
}): SectionMatch<Wish>[] {
  const { sections, bound } = options;
  const pending = new Set(options.wishes.filter((wish) => wish.cid !== ''));
  const matches: SectionMatch<Wish>[] = [];
  const left: Section[] = [];
  const take = (section: Section, wish: Wish): void => {
    pending.delete(wish);
    matches.push({ section, wish, sdpCid: trackIdOf(section) || wish.cid });
  };
  for (const section of sections) {
    const trackId = trackIdOf(section);
    const holder = bound.get(section.mid);
    if (!isSending(section) || (holder !== undefined && holder.sdpCid === trackId)) {
      continue;
    }
    const wish =
      trackId === '' ? undefined : find(pending, (each) => each.kind === section.kind && isSameCid(each.cid, trackId));
    if (wish !== undefined) {
      take(section, wish);
    } else if (holder === undefined) {
      left.push(section);
    }
  }
  for (const section of left) {
    const wish = find(pending, (each) => each.kind === section.kind);
    if (wish !== undefined) {
      take(section, wish);
    }
  }
  return matches;
}

function find<Wish>(wishes: ReadonlySet<Wish>, test: (wish: Wish) => boolean): Wish | undefined {
  for (const wish of wishes) {
    if (test(wish)) {
      return wish;
    }
  }
  return undefined;
}

/** The track part of `a=msid`; the stream part alone when a client wrote only that. */
function trackIdOf(section: Section): string {
  return section.msids.find(({ trackId }) => trackId !== '')?.trackId ?? section.msids[0]?.streamId ?? '';
}

/** Firefox's track ids are UUIDs in braces; some SDKs announce them without. */
function isSameCid(left: string, right: string): boolean {
  return left === right || stripBraces(left) === stripBraces(right);
}

function stripBraces(id: string): string {
  return id.startsWith('{') && id.endsWith('}') ? id.slice(1, -1) : id;
}
