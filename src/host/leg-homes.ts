/** Tells gateways on which nodes the media of their sockets' sessions is. */
import type { ConnectionId, NodeId, ParticipantSid } from '../protocol/ids.ts';

export type LegHomesOptions = {
  homeOf: (leg: ParticipantSid) => NodeId | undefined;
  tell: (connectionId: ConnectionId, nodeId: NodeId) => void;
};

export class LegHomes {
  readonly #options: LegHomesOptions;
  readonly #sockets = new Map<ParticipantSid, ConnectionId>();

  constructor(options: LegHomesOptions) {
    this.#options = options;
  }

  /** The session has this socket from now on. */
  bind(leg: ParticipantSid, connectionId: ConnectionId): void {
    this.#sockets.set(leg, connectionId);
    this.placed(leg);
  }

  /** The leg is somewhere now, or somewhere else. */
  placed(leg: ParticipantSid): void {
    const connectionId = this.#sockets.get(leg);
    const nodeId = this.#options.homeOf(leg);
    if (connectionId !== undefined && nodeId !== undefined) {
      this.#options.tell(connectionId, nodeId);
    }
  }

  forget(leg: ParticipantSid): void {
    this.#sockets.delete(leg);
  }
}
