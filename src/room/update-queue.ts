/** Participant changes that others have not been told of yet. */
import type { ParticipantSid } from '../protocol/ids.ts';
import type { Participant } from './participant.ts';

export type Change =
  | { kind: 'changed'; participant: Participant }
  /** @property replaced the same identity is back under a new sid: newer clients see that by themselves */
  | { kind: 'left'; participant: Participant; info: Uint8Array; replaced: boolean };

export class UpdateQueue {
  readonly #urgent = new Map<ParticipantSid, Change>();
  readonly #batched = new Map<ParticipantSid, Change>();

  get hasUrgent(): boolean {
    return this.#urgent.size > 0;
  }

  get hasBatched(): boolean {
    return this.#batched.size > 0;
  }

  /** A later change of the same session replaces an earlier one: it is told with all that is true when it is sent. */
  add(change: Change, urgent: boolean): void {
    const { sid, identity } = change.participant;
    if (urgent) {
      this.#hastenIdentity(identity);
      this.#urgent.set(sid, change);
    } else if (this.#urgent.has(sid)) {
      this.#urgent.set(sid, change);
    } else {
      this.#batched.set(sid, change);
    }
  }

  takeUrgent(): Change[] {
    return takeAll(this.#urgent);
  }

  takeBatched(): Change[] {
    return takeAll(this.#batched);
  }

  /** Clients know participants by identity: a departure told after the return of the same identity would remove the wrong one. */
  #hastenIdentity(identity: string): void {
    for (const [sid, change] of this.#batched) {
      if (change.participant.identity === identity) {
        this.#batched.delete(sid);
        this.#urgent.set(sid, change);
      }
    }
  }
}

function takeAll(changes: Map<ParticipantSid, Change>): Change[] {
  const all = [...changes.values()];
  changes.clear();
  return all;
}
