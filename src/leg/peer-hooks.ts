import type { LegFailure } from '../protocol/leg-messages.ts';

/** What both connections of a leg tell it. */
export type PeerHooks = {
  /** Something that the host gets to know changed. */
  changed: () => void;
  failed: (failure: LegFailure, detail: string) => void;
};
