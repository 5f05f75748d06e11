import { z } from 'zod';
import type { Logger } from '../observe/log.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RedisConnection } from './redis-connection.ts';
import { bytes, decodeReply, flag, integer } from './redis-replies.ts';
import { redisScripts } from './redis-scripts.ts';
import {
  decodeNode,
  decodeNodeState,
  encodeNode,
  encodeNodeState,
  type NodeRecord,
  type NodeStateChange,
  type NodeStateRecord,
} from './store-records.ts';
import type { Epoch, NodeEntry, NodeRegistry, NodeStateOutcome, NodeStates, Unsubscribe } from './store.ts';

/** A lifecycle record outlives its node by a week: long enough for whoever looks into it. */
const stateLifeMs = String(7 * 24 * 3_600_000);

const stateReply = z.tuple([integer, bytes, integer.nullable()]);
const beatReply = stateReply.nullable();
const listReply = z.array(z.tuple([bytes, bytes, integer, flag]));
const changeReply = z.tuple([flag, stateReply.nullable()]);

type NodesOptions = { redis: RedisConnection; log: Logger };

export class RedisNodeRegistry implements NodeRegistry {
  readonly #redis: RedisConnection;
  readonly #log: Logger;

  constructor({ redis, log }: NodesOptions) {
    this.#redis = redis;
    this.#log = log;
  }

  async beat(record: NodeRecord): Promise<{ state: NodeStateRecord | undefined }> {
    const { keys } = this.#redis;
    const { stable, load } = encodeNode(record);
    const reply = await this.#redis.run(redisScripts.beat, {
      keys: [keys.nodes, keys.node(record.nodeId), keys.nodeState(record.nodeId)],
      args: [record.nodeId, stable, load, keys.nodeChanged, stateLifeMs],
    });
    return { state: toState(decodeReply(beatReply, reply)) };
  }

  async leave(nodeId: NodeId): Promise<void> {
    const { keys } = this.#redis;
    const call = { keys: [keys.nodes, keys.node(nodeId)], args: [nodeId, keys.nodeChanged] };
    await this.#redis.run(redisScripts.leave, call);
  }

  async list(): Promise<NodeEntry[]> {
    const { keys } = this.#redis;
    const reply = await this.#redis.run(redisScripts.listNodes, { keys: [keys.nodes], args: [keys.node('')] });
    return decodeReply(listReply, reply).flatMap(([stable, load, beatAgeMs, isLive]) => {
      try {
        return [{ record: decodeNode({ stable, load }), isLive, beatAgeMs }];
      } catch (error) {
        // One node's broken record must not hide the others.
        this.#log.warn({ err: error }, 'a node states what cannot be read');
        return [];
      }
    });
  }

  onChange(listener: (nodeId: NodeId) => void): Unsubscribe {
    return onId(this.#redis, this.#redis.keys.nodeChanged, listener);
  }
}

export class RedisNodeStates implements NodeStates {
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async get(nodeId: NodeId): Promise<NodeStateRecord | undefined> {
    const reply = await this.#redis.run(redisScripts.getNodeState, { keys: [this.#redis.keys.nodeState(nodeId)] });
    return toState(decodeReply(stateReply.nullable(), reply));
  }

  async list(): Promise<NodeStateRecord[]> {
    const { keys } = this.#redis;
    const call = { keys: [keys.nodeStates], args: [keys.nodeState('')] };
    const reply = await this.#redis.run(redisScripts.listNodeStates, call);
    return decodeReply(z.array(stateReply), reply).flatMap((found) => toState(found) ?? []);
  }

  async change(nodeId: NodeId, expectedEpoch: Epoch, change: NodeStateChange): Promise<NodeStateOutcome> {
    const { keys } = this.#redis;
    const current = await this.get(nodeId);
    if ((current?.epoch ?? 0) !== expectedEpoch) {
      return { kind: 'conflict', record: current };
    }
    const reply = await this.#redis.grant(redisScripts.changeNodeState, {
      keys: [keys.nodeStates, keys.nodeState(nodeId)],
      args: [
        nodeId,
        String(expectedEpoch),
        encodeNodeState(current, nodeId, change),
        deadlineOf(change),
        stateLifeMs,
        keys.nodeStateChanged,
      ],
    });
    const [isChanged, stands] = decodeReply(changeReply, reply);
    const record = toState(stands);
    return isChanged && record !== undefined ? { kind: 'changed', record } : { kind: 'conflict', record };
  }

  async remove(nodeId: NodeId, expectedEpoch: Epoch): Promise<boolean> {
    const { keys } = this.#redis;
    const reply = await this.#redis.grant(redisScripts.removeNodeState, {
      keys: [keys.nodeStates, keys.nodeState(nodeId)],
      args: [nodeId, String(expectedEpoch), keys.nodeStateChanged],
    });
    return decodeReply(flag, reply);
  }

  onChange(listener: (nodeId: NodeId) => void): Unsubscribe {
    return onId(this.#redis, this.#redis.keys.nodeStateChanged, listener);
  }
}

function onId(redis: RedisConnection, channel: string, listener: (nodeId: NodeId) => void): Unsubscribe {
  return redis.subscribe(channel, (message) => listener(message.toString() as NodeId)).unsubscribe;
}

function toState(found: z.output<typeof beatReply>): NodeStateRecord | undefined {
  return found === null ? undefined : decodeNodeState(found[1], { epoch: found[0], remainingMs: found[2] });
}

function deadlineOf(change: NodeStateChange): string {
  if (change.remainingMs === undefined) {
    return 'keep';
  }
  return change.remainingMs === null ? 'none' : String(Math.round(change.remainingMs));
}
