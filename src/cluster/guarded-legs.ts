/** What room hosts may say to the legs of this node: of each room only the host with the highest epoch is heard. */
import type { Link, LinkCloseReason } from './link.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import type { LegId } from '../protocol/ids.ts';
import { EpochGuard } from './relay-epoch.ts';

type LegHostLink = Link<LegToHost, HostToLeg>;
type OpenLeg = { roomName: string; epoch: number; deliver: (message: HostToLeg) => void };

export class GuardedLegs {
  readonly #guard = new EpochGuard();
  readonly #legs = new Map<LegId, OpenLeg>();

  /** The link as the legs are to see it. */
  wrap(link: LegHostLink): LegHostLink {
    let deliver: (message: HostToLeg) => void = () => undefined;
    return {
      send: (message) => link.send(message),
      close: () => link.close(),
      onMessage: (receive) => {
        deliver = receive;
        link.onMessage((message, epoch) => this.#receive(message, epoch, deliver));
      },
      onClose: (closed) =>
        link.onClose((reason: LinkCloseReason) => {
          for (const [sid, leg] of this.#legs) {
            if (leg.deliver === deliver) {
              this.#forget(sid, leg);
            }
          }
          closed(reason);
        }),
    };
  }

  #receive(message: HostToLeg, epoch: number | undefined, deliver: (message: HostToLeg) => void): void {
    const roomName = this.#roomOf(message);
    if (roomName !== undefined && epoch !== undefined) {
      const before = this.#guard.current(roomName);
      if (!this.#guard.admit(roomName, epoch)) {
        return;
      }
      if (before !== undefined && epoch > before) {
        this.#closeLegsBelow(roomName, epoch);
      }
      if (message.kind === 'open') {
        this.#legs.set(message.leg, { roomName, epoch, deliver });
      }
    }
    deliver(message);
    const leg = message.kind === 'close' ? this.#legs.get(message.leg) : undefined;
    if (message.kind === 'close' && leg !== undefined) {
      this.#forget(message.leg, leg);
    }
  }

  /** Their host was replaced and cannot close them any more. */
  #closeLegsBelow(roomName: string, epoch: number): void {
    for (const [sid, leg] of this.#legs) {
      if (leg.roomName === roomName && leg.epoch < epoch) {
        this.#legs.delete(sid);
        leg.deliver({ kind: 'close', leg: sid, reason: 'host-lost' });
      }
    }
  }

  #roomOf(message: HostToLeg): string | undefined {
    switch (message.kind) {
      case 'open':
        return message.identity.roomName;
      case 'serverPacket':
      case 'interceptRpc':
      case 'roomNodes':
        return message.roomName;
      default:
        return this.#legs.get(message.leg)?.roomName;
    }
  }

  #forget(sid: LegId, { roomName }: OpenLeg): void {
    this.#legs.delete(sid);
    if (![...this.#legs.values()].some((leg) => leg.roomName === roomName)) {
      this.#guard.forget(roomName);
    }
  }
}
