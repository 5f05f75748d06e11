/** Carries out RoomService requests: from the directory, or by the host of the room. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Message } from '@bufbuild/protobuf';
import { type ListRoomsRequest, ListRoomsResponse, Room } from '@livekit/protocol';
import type { RoomDirectory } from '../cluster/directory.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { CommandResult, RoomMethod } from '../protocol/session-messages.ts';
import { hostUnreachable, roomNotFound, unimplemented } from './errors.ts';
import { PlenumError } from '../lib/errors.ts';
import { moveParticipant } from './move-participant.ts';
import type { RoomClient } from './room-client.ts';
import { commandTimeoutMs, type Carrier, type HostCarrier } from './room-methods.ts';
import { abortable } from './abortable.ts';

const maxAttempts = 5;

/** What may be done twice with the same result. */
const repeatable: ReadonlySet<RoomMethod> = new Set([
  'CreateRoom',
  'ListParticipants',
  'GetParticipant',
  'MutePublishedTrack',
  'UpdateParticipant',
  'UpdateSubscriptions',
  'UpdateRoomMetadata',
]);

function isHostLost(error: unknown): boolean {
  return error instanceof PlenumError && error.reason === hostUnreachable().reason;
}

export type Encodable = { toBinary(): Uint8Array };

export type RoomServiceOptions = { directory: RoomDirectory; client: RoomClient };

export class RoomService {
  readonly #directory: RoomDirectory;
  readonly #client: RoomClient;

  constructor(options: RoomServiceOptions) {
    this.#directory = options.directory;
    this.#client = options.client;
  }

  /** Resolves with the protobuf response or the host's error; rejects with a PlenumError when nobody could answer. */
  async carryOut(carrier: Carrier, request: Message, signal: AbortSignal): Promise<CommandResult> {
    switch (carrier.kind) {
      case 'directory':
        return this.#listRooms(request as ListRoomsRequest, signal);
      case 'placedHost':
        return this.#runOnPlacedHost(carrier, request, signal);
      case 'host':
        return this.#runOnHost(carrier, request, signal);
      case 'twoHosts':
        return moveParticipant(carrier, request, (method, roomName, bytes) =>
          this.#runOnHost(
            { kind: 'host', method, roomName, missing: 'error', timeoutMs: commandTimeoutMs },
            bytes,
            signal,
          ),
        );
      case 'nobody':
        throw unimplemented('forwarding participants to other rooms');
    }
  }

  async #listRooms(request: ListRoomsRequest, signal: AbortSignal): Promise<CommandResult> {
    const rooms = await abortable(this.#directory.list(request.names), { signal, timeoutMs: commandTimeoutMs });
    const response = new ListRoomsResponse({ rooms: rooms.map((room) => Room.fromBinary(room)) });
    return { ok: true, response: response.toBinary() };
  }

  async #runOnPlacedHost(
    carrier: { method: RoomMethod; roomName: string },
    request: Message,
    signal: AbortSignal,
  ): Promise<CommandResult> {
    return this.#untilHere(carrier, async () => {
      const place = this.#directory.place(carrier.roomName);
      const location = await abortable(place, { signal, timeoutMs: commandTimeoutMs });
      return this.#run(location.nodeId, { ...carrier, timeoutMs: commandTimeoutMs }, { request, signal });
    });
  }

  async #runOnHost(carrier: HostCarrier, request: Encodable, signal: AbortSignal): Promise<CommandResult> {
    return this.#untilHere(carrier, () => this.#runOnce(carrier, request, signal));
  }

  /**
   * A node that does not host the room has done nothing, and what a node that is lost did may be done again, if it is
   * repeatable: the directory is asked anew, a few times.
   */
  async #untilHere(
    { method, roomName }: { method: RoomMethod; roomName: string },
    run: () => Promise<CommandResult>,
  ): Promise<CommandResult> {
    for (let attempt = 1; ; attempt += 1) {
      const result = await run().catch((error: unknown) => {
        if (attempt === maxAttempts || !repeatable.has(method) || !isHostLost(error)) {
          throw error;
        }
        return 'again' as const;
      });
      if (result !== 'again' && (result.ok || result.meta?.reason !== 'not-here' || attempt === maxAttempts)) {
        return result;
      }
      this.#directory.forget(roomName);
      await delay(attempt * 20);
    }
  }

  async #runOnce(carrier: HostCarrier, request: Encodable, signal: AbortSignal): Promise<CommandResult> {
    const locate = this.#directory.locate(carrier.roomName);
    const location = await abortable(locate, { signal, timeoutMs: commandTimeoutMs });
    if (location === undefined) {
      return this.#roomMissing(carrier);
    }
    const result = await this.#run(location.nodeId, carrier, { request, signal });
    // The room may end between the look-up and the call.
    return !result.ok && result.code === 'not_found' && carrier.missing === 'empty'
      ? this.#roomMissing(carrier)
      : result;
  }

  #run(
    nodeId: NodeId,
    carrier: { method: RoomMethod; roomName: string; timeoutMs: number },
    call: { request: Encodable; signal: AbortSignal },
  ): Promise<CommandResult> {
    return this.#client.run({
      nodeId,
      roomName: carrier.roomName,
      command: { method: carrier.method, request: call.request.toBinary() },
      timeoutMs: carrier.timeoutMs,
      signal: call.signal,
    });
  }

  #roomMissing(carrier: HostCarrier): CommandResult {
    if (carrier.missing === 'empty') {
      // The default value of any protobuf message is the empty string of bytes.
      return { ok: true, response: new Uint8Array() };
    }
    throw roomNotFound();
  }
}
