import type { ClusterNodes } from '../cluster/cluster-nodes.ts';
import type { TurnBackend } from '../edge/turn-splice.ts';

/** TURN servers of the cluster, the least loaded first; those of nodes that are being emptied only when there is no other. */
export function turnBackends(nodes: ClusterNodes): TurnBackend[] {
  return nodes
    .liveMedia()
    .filter(({ turn }) => turn !== undefined)
    .toSorted(
      (left, right) =>
        Number(left.state !== 'SERVING') - Number(right.state !== 'SERVING') || left.load.cpu - right.load.cpu,
    )
    .flatMap(({ turn }) => (turn === undefined ? [] : [{ host: turn.host, port: turn.port }]));
}
