/** What room hosts may say to the legs of this node: of each room only the host with the highest epoch is heard. */
import type { Link } from './link.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import type { LegId } from '../protocol/ids.ts';
import { EpochGuard } from './relay-epoch.ts';

type LegHostLink = Link<LegToHost, HostToLeg>;

export class GuardedLegs {
  readonly #guard = new EpochGuard();
  readonly #rooms = new Map<LegId, string>();
  /** As long as a room has legs here, what was heard of its hosts is remembered. */
  readonly #legs = new Map<string, Set<LegId>>();

  /** Records that are known here, for leak tests. */
  get size(): number {
    return this.#guard.size;
  }

  /** The link as the legs are to see it. */
  wrap(link: LegHostLink): LegHostLink {
    return {
      send: (message) => link.send(message),
      close: () => link.close(),
      onMessage: (receive) => link.onMessage((message, epoch) => this.#receive(link, message, epoch, receive)),
      onClose: (closed) => link.onClose(closed),
    };
  }

  /** The leg is closed, whoever wanted it. */
  legEnded(leg: LegId): void {
    const roomName = this.#rooms.get(leg);
    if (roomName !== undefined) {
      this.#rooms.delete(leg);
      this.#legs.get(roomName)?.delete(leg);
      this.#forgetIfEmpty(roomName);
    }
  }

  #receive(
    link: LegHostLink,
    message: HostToLeg,
    epoch: number | undefined,
    deliver: (message: HostToLeg, epoch?: number) => void,
  ): void {
    const roomName = this.#roomOf(message);
    if (roomName === undefined || epoch === undefined) {
      deliver(message, epoch);
      return;
    }
    if (!this.#guard.admit(roomName, epoch)) {
      // Whoever was away for long learns so what the others know.
      link.send({ kind: 'superseded', roomName, epoch: this.#guard.current(roomName) ?? epoch });
      return;
    }
    if (message.kind === 'open') {
      this.#rooms.set(message.leg, roomName);
      this.#legs.set(roomName, (this.#legs.get(roomName) ?? new Set()).add(message.leg));
    }
    deliver(message, epoch);
    if (message.kind === 'close') {
      this.legEnded(message.leg);
    } else {
      this.#forgetIfEmpty(roomName);
    }
  }

  #roomOf(message: HostToLeg): string | undefined {
    if ('roomName' in message) {
      return message.roomName;
    }
    return message.kind === 'open' ? message.identity.roomName : this.#rooms.get(message.leg);
  }

  #forgetIfEmpty(roomName: string): void {
    if ((this.#legs.get(roomName)?.size ?? 0) === 0) {
      this.#legs.delete(roomName);
      this.#guard.forget(roomName);
    }
  }
}
