/** Remote procedure calls of the server API to a participant (PerformRpc). */
import { DataPacket, DataPacket_Kind, PerformRpcResponse, RpcRequest, type PerformRpcRequest } from '@livekit/protocol';
import type { CommandResult } from '../protocol/session-messages.ts';
import type { TwirpCode } from '../protocol/twirp.ts';
import { byteLength } from './limits.ts';
import type { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';
import { bound, timing } from './settings.ts';

export type PendingRpc = {
  id: string;
  /** Of the command that waits for the answer. */
  requestId: number;
  participant: Participant;
};

type RpcFailure = { rpcCode: number; message: string; data?: string };

/** LiveKit's RPC error numbers, and the Twirp codes that API users see for them. */
const rpcErrors = {
  unsupportedMethod: 1400,
  recipientNotFound: 1401,
  payloadTooLarge: 1402,
  connectionTimeout: 1501,
  responseTimeout: 1502,
  recipientDisconnected: 1503,
} as const;

const twirpCodes: Record<number, TwirpCode> = {
  1400: 'unimplemented',
  1401: 'not_found',
  1402: 'invalid_argument',
  1403: 'failed_precondition',
  1404: 'failed_precondition',
  1500: 'unknown',
  1501: 'deadline_exceeded',
  1502: 'deadline_exceeded',
  1503: 'unavailable',
  1504: 'out_of_range',
  1505: 'internal',
};

/** Answers at once when the call cannot be made, else later by `commandResult`. */
export function startRpc(room: RoomState, requestId: number, request: PerformRpcRequest): void {
  const participant = room.identities.get(request.destinationIdentity);
  const failure = refuse(participant, request);
  if (participant === undefined || failure !== undefined) {
    reply(
      room,
      requestId,
      toResult(failure ?? { rpcCode: rpcErrors.recipientNotFound, message: 'participant does not exist' }),
    );
    return;
  }
  if (room.rpcs.size >= bound.pendingRpcs) {
    reply(room, requestId, {
      ok: false,
      code: 'resource_exhausted',
      message: 'too many calls are waiting for an answer',
    });
    return;
  }
  const id = `RPC_${room.random()}`;
  const timeoutMs = request.responseTimeoutMs || timing.rpcDefaultTimeoutMs;
  room.rpcs.set(id, { id, requestId, participant });
  room.timers.set(`rpcAck:${id}`, room.nowMs + Math.min(timing.rpcAckTimeoutMs, timeoutMs));
  room.timers.set(`rpc:${id}`, room.nowMs + timeoutMs);
  const packet = new DataPacket({
    kind: DataPacket_Kind.RELIABLE,
    destinationIdentities: [participant.identity],
    value: {
      case: 'rpcRequest',
      value: new RpcRequest({
        id,
        method: request.method,
        payload: request.payload,
        responseTimeoutMs: timeoutMs,
        version: 1,
      }),
    },
  });
  room.outbox.toLeg({ kind: 'interceptRpc', roomName: room.name, requestId: id, active: true });
  room.outbox.toLeg({
    kind: 'serverPacket',
    roomName: room.name,
    packet: packet.toBinary(),
    reliable: true,
    recipients: [participant.sid],
  });
}

function refuse(participant: Participant | undefined, request: PerformRpcRequest): RpcFailure | undefined {
  if (participant === undefined) {
    return { rpcCode: rpcErrors.recipientNotFound, message: 'participant does not exist' };
  }
  if (byteLength(request.payload) > bound.rpcPayloadBytes) {
    return { rpcCode: rpcErrors.payloadTooLarge, message: `payload is larger than ${bound.rpcPayloadBytes} bytes` };
  }
  return undefined;
}

/** An ack or a response that the leg took out of the participant's data. */
export function handleRpcPacket(room: RoomState, sender: Participant, bytes: Uint8Array): void {
  const packet = decodePacket(bytes);
  if (packet?.value.case === 'rpcAck') {
    const rpc = room.rpcs.get(packet.value.value.requestId);
    if (rpc?.participant === sender) {
      room.timers.clear(`rpcAck:${rpc.id}`);
    }
  } else if (packet?.value.case === 'rpcResponse') {
    const response = packet.value.value;
    const rpc = room.rpcs.get(response.requestId);
    if (rpc?.participant !== sender) {
      return;
    }
    const { value } = response;
    if (value.case === 'error') {
      finish(room, rpc, toResult({ rpcCode: value.value.code, message: value.value.message, data: value.value.data }));
    } else {
      const payload = value.case === 'payload' ? value.value : '';
      finish(room, rpc, { ok: true, response: new PerformRpcResponse({ payload }).toBinary() });
    }
  }
}

function decodePacket(bytes: Uint8Array): DataPacket | undefined {
  try {
    return DataPacket.fromBinary(bytes);
  } catch {
    return undefined;
  }
}

export function rpcAckTimedOut(room: RoomState, id: string): void {
  fail(room, id, { rpcCode: rpcErrors.connectionTimeout, message: 'Connection timeout' });
}

export function rpcTimedOut(room: RoomState, id: string): void {
  fail(room, id, { rpcCode: rpcErrors.responseTimeout, message: 'Response timeout' });
}

export function failRpcsOf(room: RoomState, participant: Participant): void {
  for (const rpc of room.rpcs.values()) {
    if (rpc.participant === participant) {
      fail(room, rpc.id, { rpcCode: rpcErrors.recipientDisconnected, message: 'Recipient disconnected' });
    }
  }
}

export function failAllRpcs(room: RoomState): void {
  for (const rpc of room.rpcs.values()) {
    failRpcsOf(room, rpc.participant);
  }
}

function fail(room: RoomState, id: string, failure: RpcFailure): void {
  const rpc = room.rpcs.get(id);
  if (rpc !== undefined) {
    finish(room, rpc, toResult(failure));
  }
}

function finish(room: RoomState, rpc: PendingRpc, result: CommandResult): void {
  room.rpcs.delete(rpc.id);
  room.timers.clear(`rpcAck:${rpc.id}`);
  room.timers.clear(`rpc:${rpc.id}`);
  room.outbox.toLeg({ kind: 'interceptRpc', roomName: room.name, requestId: rpc.id, active: false });
  reply(room, rpc.requestId, result);
}

function toResult(failure: RpcFailure): CommandResult {
  return {
    ok: false,
    // Numbers of applications' own errors are theirs to give.
    code: twirpCodes[failure.rpcCode] ?? 'unknown',
    message: failure.message,
    meta: { rpc_code: String(failure.rpcCode), ...(failure.data ? { rpc_data: failure.data } : {}) },
  };
}

function reply(room: RoomState, requestId: number, result: CommandResult): void {
  room.outbox.toGateway({ kind: 'commandResult', requestId, result });
}
