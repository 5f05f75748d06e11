/** States of the nodes, and how far drains are. */
import { Gauge, type Registry } from 'prom-client';

/** A node that is being drained. */
export type DrainNow = { nodeId: string; rooms: number; participants: number };

export class NodeGauges {
  /** Both are asked at each scrape. */
  constructor(registry: Registry, states: () => string[], drains: () => DrainNow[]) {
    const registers = [registry];
    const nodes: Gauge<'state'> = new Gauge({
      name: 'plenum_nodes',
      help: 'Media nodes by state, as this node knows them.',
      labelNames: ['state'],
      registers,
      collect: () => {
        nodes.reset();
        for (const [state, of] of Map.groupBy(states(), (each) => each)) {
          nodes.set({ state }, of.length);
        }
      },
    });
    const rooms: Gauge<'drained_node'> = new Gauge({
      name: 'plenum_drain_rooms',
      help: 'Rooms that a node which is being drained still hosts.',
      labelNames: ['drained_node'],
      registers,
      collect: () => setByNode(rooms, drains(), (drain) => drain.rooms),
    });
    const participants: Gauge<'drained_node'> = new Gauge({
      name: 'plenum_drain_participants',
      help: 'Participants whose media is still on a node which is being drained.',
      labelNames: ['drained_node'],
      registers,
      collect: () => setByNode(participants, drains(), (drain) => drain.participants),
    });
  }
}

function setByNode(gauge: Gauge<'drained_node'>, drains: DrainNow[], value: (drain: DrainNow) => number): void {
  gauge.reset();
  for (const drain of drains) {
    gauge.set({ drained_node: drain.nodeId }, value(drain));
  }
}
