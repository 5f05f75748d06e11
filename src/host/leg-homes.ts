/** Tells gateways on which nodes the media of their sockets' sessions is. */
import { participantOfLeg, type ConnectionId, type LegId, type NodeId, type ParticipantSid } from '../protocol/ids.ts';
import type { HostToLeg } from '../protocol/leg-messages.ts';

export type LegHomesOptions = {
  homeOf: (leg: LegId) => NodeId | undefined;
  tell: (connectionId: ConnectionId, nodeId: NodeId) => void;
};

export class LegHomes {
  readonly #options: LegHomesOptions;
  readonly #sockets = new Map<ParticipantSid, ConnectionId>();
  /** Of participants who have moved: the leg that carries them. */
  readonly #legs = new Map<ParticipantSid, LegId>();

  constructor(options: LegHomesOptions) {
    this.#options = options;
  }

  /** The session has this socket from now on. */
  bind(participant: ParticipantSid, connectionId: ConnectionId): void {
    this.#sockets.set(participant, connectionId);
    this.#tell(participant);
  }

  /** A leg was opened. One that is made ready for a move carries nobody yet. */
  placed(leg: LegId): void {
    if (leg === participantOfLeg(leg)) {
      this.#tell(participantOfLeg(leg));
    }
  }

  /** This leg carries its participant from now on. */
  carries(leg: LegId): void {
    const participant = participantOfLeg(leg);
    if (leg !== participant) {
      this.#legs.set(participant, leg);
    }
    this.#tell(participant);
  }

  /** What legs are told says where participants are. */
  follow(message: HostToLeg): void {
    if (message.kind === 'activate') {
      this.carries(message.leg);
    } else if (message.kind === 'close') {
      this.forget(message.leg);
    }
  }

  /** The leg is closed. */
  forget(leg: LegId): void {
    const participant = participantOfLeg(leg);
    if ((this.#legs.get(participant) ?? participant) === leg) {
      this.#sockets.delete(participant);
      this.#legs.delete(participant);
    }
  }

  #tell(participant: ParticipantSid): void {
    const connectionId = this.#sockets.get(participant);
    const nodeId = this.#options.homeOf(this.#legs.get(participant) ?? participant);
    if (connectionId !== undefined && nodeId !== undefined) {
      this.#options.tell(connectionId, nodeId);
    }
  }
}
