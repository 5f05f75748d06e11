/** What masters tell everybody over the bus: that the process of a node has ended, long before its lease has. */
import type { NodeId } from '../protocol/ids.ts';
import type { ClusterNodes } from './cluster-nodes.ts';
import type { ClusterBus, Unsubscribe } from './store.ts';
import { decodeMessage, encodeMessage } from './wire-codec.ts';
import { list, shape, text } from './wire-shape.ts';

const topic = 'ended-nodes';

type NodeNotice = { nodes: NodeId[] };

const isNotice = shape<NodeNotice>({ nodes: list(text) });

/** Never rejects: who does not hear of it finds out by itself. */
export async function tellNodeEnded(bus: ClusterBus, nodeId: NodeId): Promise<void> {
  await bus.publish(topic, encodeMessage({ nodes: [nodeId] } satisfies NodeNotice)).catch(() => undefined);
}

/** From the moment that a master says that a node has ended, nothing is placed on it, and its relays count as gone. */
export function heedEndedNodes(bus: ClusterBus, nodes: ClusterNodes): Promise<Unsubscribe> {
  return bus.subscribe(topic, (message) => {
    for (const nodeId of decodeNotice(message)) {
      nodes.ended(nodeId);
    }
  });
}

/** @returns nobody for what cannot be read: a newer node may say more on this topic. */
function decodeNotice(message: Uint8Array): NodeId[] {
  try {
    const notice = decodeMessage(message);
    return isNotice(notice) ? (notice as NodeNotice).nodes : [];
  } catch {
    return [];
  }
}
