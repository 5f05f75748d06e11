import type { NodeId } from '../../src/protocol/ids.ts';
import type { VirtualClient } from './virtual-client.ts';
import type { Monitor } from './monitor.ts';
import type { Random } from './random.ts';
import type { Rules } from './rules.ts';
import type { VirtualNetwork } from './virtual-network.ts';
import type { VirtualRedis } from './virtual-redis.ts';
import type { VirtualTime } from './virtual-time.ts';

/** What every process of a run shares. */
export type Context = {
  time: VirtualTime;
  random: Random;
  network: VirtualNetwork;
  redis: VirtualRedis;
  monitor: Monitor;
  rules: Rules;
  masterIds: readonly NodeId[];
  clients: Map<string, VirtualClient>;
  /** Since when a node's record says that it takes no work; for the monitor. */
  outOfServiceMs: (nodeId: NodeId) => number;
};
