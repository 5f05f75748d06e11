/** What RoomService accepts: limits on names, sizes and counts, with LiveKit's texts. Each function throws `invalid_argument`. */
import type {
  CreateRoomRequest,
  ForwardParticipantRequest,
  MoveParticipantRequest,
  PerformRpcRequest,
  SendDataRequest,
  UpdateParticipantRequest,
  UpdateRoomMetadataRequest,
} from '@livekit/protocol';
import type { Config } from '../config/options.ts';
import { invalidArgument, unimplemented } from './errors.ts';

export type RequestLimits = Config['limit'];

/** What one data channel message may carry; a browser refuses to take more. */
const maxDataSizeBytes = 64_000;
/** RPC version 1 payloads, as all SDKs limit them. */
const maxRpcPayloadSizeBytes = 15_360;
/** With the way there and back it must fit into the time that the gateway gives one request. */
const maxRpcTimeoutMs = 50_000;
const nonceSizeBytes = 16;

function sizeBytes(text: string): number {
  return Buffer.byteLength(text, 'utf8');
}

function checkMetadata(metadata: string, limits: RequestLimits): void {
  if (sizeBytes(metadata) > limits.max_metadata_size) {
    throw invalidArgument('metadata size exceeds limits', 'metadata');
  }
}

export function checkCreateRoom(request: CreateRoomRequest, limits: RequestLimits): void {
  if (request.name === '') {
    throw invalidArgument('no room name', 'name');
  }
  if (request.name.length > limits.max_room_name_length) {
    throw invalidArgument('room name length exceeds limits', 'name');
  }
  if (request.roomPreset !== '') {
    throw invalidArgument('room preset does not exist', 'room_preset');
  }
  checkMetadata(request.metadata, limits);
  if (request.egress !== undefined) {
    // A room that is not recorded although its maker asked for it must not look like a success.
    throw unimplemented('recording (`egress` of CreateRoom)');
  }
}

export function checkUpdateRoomMetadata(request: UpdateRoomMetadataRequest, limits: RequestLimits): void {
  checkMetadata(request.metadata, limits);
}

export function checkUpdateParticipant(request: UpdateParticipantRequest, limits: RequestLimits): void {
  if (request.name.length > limits.max_participant_name_length) {
    throw invalidArgument('name length exceeds limits', 'name');
  }
  checkMetadata(request.metadata, limits);
  let attributesSizeBytes = 0;
  for (const [key, value] of Object.entries(request.attributes)) {
    attributesSizeBytes += sizeBytes(key) + sizeBytes(value);
  }
  if (attributesSizeBytes > limits.max_attributes_size) {
    throw invalidArgument('attribute size exceeds limits', 'attributes');
  }
}

export function checkSendData(request: SendDataRequest): void {
  if (request.data.byteLength > maxDataSizeBytes) {
    throw invalidArgument(`data size exceeds limits of ${maxDataSizeBytes} bytes`, 'data');
  }
  if (request.nonce.byteLength !== 0 && request.nonce.byteLength !== nonceSizeBytes) {
    throw invalidArgument(`nonce should be 16-bytes or not present, got: ${request.nonce.byteLength} bytes`, 'nonce');
  }
}

export function checkPerformRpc(request: PerformRpcRequest): void {
  if (request.destinationIdentity === '') {
    throw invalidArgument('destination identity cannot be empty', 'destination_identity');
  }
  if (request.method === '') {
    throw invalidArgument('method cannot be empty', 'method');
  }
  if (sizeBytes(request.payload) > maxRpcPayloadSizeBytes) {
    throw invalidArgument(`payload size exceeds limits of ${maxRpcPayloadSizeBytes} bytes`, 'payload');
  }
  if (request.responseTimeoutMs > maxRpcTimeoutMs) {
    throw invalidArgument(`response timeout exceeds ${maxRpcTimeoutMs} ms`, 'response_timeout_ms');
  }
}

export function checkDestinationRoom(request: ForwardParticipantRequest | MoveParticipantRequest): void {
  if (request.destinationRoom === request.room) {
    throw invalidArgument('destination room cannot be the same as source room', 'destination_room');
  }
}

export function checkIdentity(request: { identity: string }, limits: RequestLimits): void {
  if (request.identity === '') {
    throw invalidArgument('identity cannot be empty', 'identity');
  }
  if (request.identity.length > limits.max_participant_identity_length) {
    throw invalidArgument('participant identity length exceeds limits', 'identity');
  }
}
