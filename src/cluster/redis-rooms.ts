import { z } from 'zod';
import type { NodeId } from '../protocol/ids.ts';
import type { RedisConnection } from './redis-connection.ts';
import { bytes, decodeReply, flag, id, integer, text } from './redis-replies.ts';
import { redisScripts } from './redis-scripts.ts';
import { checkParts, checkSize, maxRoomBytes } from './store-limits.ts';
import { untilSettled } from './store-settling.ts';
import type {
  Epoch,
  RoomClaim,
  RoomHolding,
  RoomOwner,
  RoomParts,
  RoomRecords,
  RoomRenewal,
  RoomTakeOver,
  RoomWrite,
  SavedRoom,
} from './store.ts';

/** Keeps each script well under a millisecond, and its arguments under Lua's limit. */
const batch = 200;

const findReply = z.tuple([id, integer, flag]).nullable();
const claimReply = z.tuple([text, id, integer, flag]);
const takeOverReply = z.tuple([text, id, integer]);
const renewReply = z.tuple([z.array(z.tuple([text, id, integer])), z.array(text)]);
const writeReply = text.pipe(z.enum(['written', 'superseded', 'unknown']));
const loadReply = z.tuple([integer, z.array(z.unknown()).or(z.map(z.unknown(), z.unknown()))]).nullable();
const ofNodeReply = z.array(z.tuple([text, integer, flag]));

export class RedisRooms implements RoomRecords {
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
  }

  async find(roomName: string): Promise<(RoomOwner & { isLive: boolean }) | undefined> {
    const reply = await this.#redis.run(redisScripts.find, { keys: [this.#redis.keys.room(roomName)] });
    const found = decodeReply(findReply, reply);
    return found === null ? undefined : { nodeId: found[0], epoch: found[1], isLive: found[2] };
  }

  claim(roomName: string, nodeId: NodeId): Promise<RoomClaim> {
    return untilSettled(async () => {
      const reply = await this.#redis.grant(redisScripts.claim, this.#roomCall(roomName, [nodeId]));
      const [kind, owner, number, created] = decodeReply(claimReply, reply);
      switch (kind) {
        case 'settling':
          return { kind, waitMs: number };
        case 'orphaned':
          return { kind, nodeId: owner, epoch: number };
        default:
          return { kind: 'owned', nodeId: owner, epoch: number, created };
      }
    });
  }

  async renew(nodeId: NodeId, rooms: readonly RoomHolding[]): Promise<RoomRenewal> {
    const { keys } = this.#redis;
    const result: RoomRenewal = { lost: [], restated: [] };
    const chunks = inChunks(rooms, batch).map(async (chunk) => {
      const reply = await this.#redis.run(redisScripts.renewRooms, {
        keys: [keys.rooms, ...chunk.flatMap(({ roomName }) => [keys.room(roomName), keys.roomParts(roomName)])],
        args: [keys.nodeRooms(''), nodeId, ...chunk.flatMap(({ roomName, epoch }) => [roomName, String(epoch)])],
      });
      const [lost, restated] = decodeReply(renewReply, reply);
      for (const [roomName, owner, epoch] of lost) {
        result.lost.push({ roomName, owner: owner === '' ? undefined : { nodeId: owner, epoch } });
      }
      result.restated.push(...restated);
    });
    await Promise.all(chunks);
    return result;
  }

  takeOver(roomName: string, expectedEpoch: Epoch, newNodeId: NodeId): Promise<RoomTakeOver> {
    return this.#takeOver(roomName, [String(expectedEpoch), newNodeId, '0']);
  }

  handOver(roomName: string, epoch: Epoch, newNodeId: NodeId): Promise<RoomTakeOver> {
    return this.#takeOver(roomName, [String(epoch), newNodeId, '1']);
  }

  async release(roomName: string, epoch: Epoch): Promise<boolean> {
    const reply = await this.#redis.run(redisScripts.releaseRoom, this.#roomCall(roomName, [String(epoch)]));
    return decodeReply(flag, reply);
  }

  async save(roomName: string, epoch: Epoch, parts: RoomParts): Promise<RoomWrite> {
    checkParts(parts);
    const { keys } = this.#redis;
    const none = new Uint8Array();
    const written: RoomWrite[] = [];
    // Without pieces it still asks whether the caller owns the room.
    for (const chunk of parts.size === 0 ? [[]] : inChunks([...parts], batch)) {
      const reply = await this.#redis.run(redisScripts.saveParts, {
        keys: [keys.room(roomName), keys.roomParts(roomName)],
        args: [
          String(epoch),
          ...chunk.flatMap(([name, value]) => [name, value === undefined ? '0' : '1', value ?? none]),
        ],
      });
      written.push(decodeReply(writeReply, reply));
    }
    return written.find((result) => result !== 'written') ?? 'written';
  }

  async load(roomName: string): Promise<SavedRoom | undefined> {
    const { keys } = this.#redis;
    const reply = await this.#redis.run(redisScripts.load, { keys: [keys.room(roomName), keys.roomParts(roomName)] });
    const found = decodeReply(loadReply, reply);
    if (found === null) {
      return undefined;
    }
    const [epoch, fields] = found;
    const flat = fields instanceof Map ? [...fields].flat() : fields;
    const parts = new Map<string, Uint8Array>();
    for (let index = 0; index + 1 < flat.length; index += 2) {
      parts.set(decodeReply(text, flat[index]), decodeReply(bytes, flat[index + 1]));
    }
    return { epoch, parts };
  }

  async publish(roomName: string, epoch: Epoch, room: Uint8Array): Promise<RoomWrite> {
    checkSize('a room', room, maxRoomBytes);
    const reply = await this.#redis.run(redisScripts.publish, {
      keys: [this.#redis.keys.room(roomName)],
      args: [String(epoch), room],
    });
    return decodeReply(writeReply, reply);
  }

  async list(names: readonly string[]): Promise<Uint8Array[]> {
    const { keys } = this.#redis;
    const wanted = names.length === 0 ? await this.#names() : [...new Set(names)];
    const chunks = inChunks(wanted, batch).map(async (chunk) => {
      const call = { keys: [keys.rooms, ...chunk.map(keys.room)], args: chunk };
      return decodeReply(z.array(bytes), await this.#redis.run(redisScripts.listRooms, call));
    });
    return (await Promise.all(chunks)).flat();
  }

  async ofNode(nodeId: NodeId): Promise<(RoomHolding & { isLive: boolean })[]> {
    const { keys } = this.#redis;
    const reply = await this.#redis.run(redisScripts.roomsOfNode, {
      keys: [keys.nodeRooms(nodeId)],
      args: [nodeId, keys.room('')],
    });
    return decodeReply(ofNodeReply, reply).map(([roomName, epoch, isLive]) => ({ roomName, epoch, isLive }));
  }

  async #names(): Promise<string[]> {
    const reply = await this.#redis.run(redisScripts.roomNames, { keys: [this.#redis.keys.rooms] });
    return decodeReply(z.array(text), reply);
  }

  async #takeOver(roomName: string, args: string[]): Promise<RoomTakeOver> {
    const reply = await this.#redis.grant(redisScripts.takeOver, this.#roomCall(roomName, args));
    const [kind, nodeId, epoch] = decodeReply(takeOverReply, reply);
    switch (kind) {
      case 'taken':
        return { kind, epoch };
      case 'missing':
        return { kind };
      default:
        return { kind: 'refused', nodeId, epoch };
    }
  }

  #roomCall(roomName: string, args: string[]): { keys: string[]; args: string[] } {
    const { keys } = this.#redis;
    return {
      keys: [keys.rooms, keys.room(roomName), keys.roomParts(roomName)],
      args: [keys.nodeRooms(''), roomName, ...args],
    };
  }
}

function inChunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}
