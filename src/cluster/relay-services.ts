import type { Logger } from '../observe/log.ts';
import type { RelayChannel } from './relay-channel.ts';
import type { OpenedChannel, ServedChannel } from './relay-connection.ts';
import { badMessage } from './relay-errors.ts';
import type {
  AcceptedChannel,
  ChannelType,
  KindMessage,
  PeerLostCause,
  PeerLostListener,
  RelayLink,
  RelayPeerFacts,
} from './relay-network.ts';
import type { NodeId } from '../protocol/ids.ts';

type Service = {
  type: ChannelType<unknown, KindMessage, KindMessage>;
  accept: (channel: AcceptedChannel<unknown, KindMessage, KindMessage>) => void;
};

/** Which channels a node serves, and who wants to know when a peer is lost. */
export class RelayServices {
  readonly #log: Logger;
  readonly #services = new Map<string, Service>();
  readonly #lost: PeerLostListener[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  add<Params, ToServer extends KindMessage, ToClient extends KindMessage>(
    type: ChannelType<Params, ToServer, ToClient>,
    accept: (channel: AcceptedChannel<Params, ToServer, ToClient>) => void,
  ): void {
    // The name on the wire stands for the types: what comes is checked against this type's tables before it is handed on.
    this.#services.set(type.name, { type, accept } as unknown as Service);
  }

  /** @throws PlenumError `relay-bad-message` when the parameters are not those of this type. */
  find(opened: OpenedChannel): Service | undefined {
    const service = this.#services.get(opened.name);
    if (service !== undefined && !service.type.params(opened.params)) {
      throw badMessage(`its parameters are none of a channel \`${opened.name}\``);
    }
    return service;
  }

  /** For a connection: `find`, with the channel as a link of the type's messages. */
  serve(opened: OpenedChannel, peer: RelayPeerFacts): ServedChannel | undefined {
    const service = this.find(opened);
    if (service === undefined) {
      return undefined;
    }
    return {
      incoming: service.type.toServer,
      accept: (channel: RelayChannel) => {
        const link: RelayLink<KindMessage, KindMessage> = channel;
        service.accept({ params: opened.params, link, peer });
      },
    };
  }

  onPeerLost(lost: PeerLostListener): void {
    this.#lost.push(lost);
  }

  peerLost(nodeId: NodeId, cause: PeerLostCause): void {
    for (const lost of this.#lost) {
      try {
        lost(nodeId, cause);
      } catch (error) {
        this.#log.error({ err: error, nodeId }, 'the loss of a node could not be handled');
      }
    }
  }
}
