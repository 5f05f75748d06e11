/** A media node's part in drains: tells the leader what its rooms have where, and passes steps on to their hosts. */
import { drainChannel, type DrainReply, type DrainRequest } from '../cluster/drain-channel.ts';
import { EpochGuard } from '../cluster/relay-epoch.ts';
import type { RelayLink, RelayNetwork } from '../cluster/relay-network.ts';
import type { RoomMoves } from '../host/room-moves.ts';
import { PlenumError } from '../lib/errors.ts';
import type { Logger } from '../observe/log.ts';
import type { CarriedLeg } from '../placement/drain-view.ts';
import type { NodeId } from '../protocol/ids.ts';

export type DrainServiceOptions = {
  nodeId: NodeId;
  relay: RelayNetwork;
  moves: RoomMoves;
  /** The legs on this node. */
  carried: () => CarriedLeg[];
  log: Logger;
};

export class DrainService {
  readonly #options: DrainServiceOptions;
  readonly #leaders = new EpochGuard();

  constructor(options: DrainServiceOptions) {
    this.#options = options;
  }

  serve(): void {
    this.#options.relay.onChannel(drainChannel, ({ link }) => {
      link.onMessage((request) => this.#receive(link, request));
    });
  }

  #receive(link: RelayLink<DrainReply, DrainRequest>, request: DrainRequest): void {
    const { nodeId, moves, carried, log } = this.#options;
    try {
      if (request.kind === 'observe') {
        const legs = request.nodeId === nodeId ? carried() : [];
        link.send({ kind: 'observed', requestId: request.requestId, ...moves.on(request.nodeId), carried: legs });
        return;
      }
      const { leaderEpoch, ...action } = request;
      if (this.#leaders.admit('drain', leaderEpoch)) {
        moves.perform(action);
      }
    } catch (error) {
      // The room has gone elsewhere: the leader plans anew from what it sees next.
      const level = error instanceof PlenumError ? 'debug' : 'error';
      log[level]({ err: error, request: request.kind }, 'a step of a drain failed');
    }
  }
}
