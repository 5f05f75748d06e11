/** For tests: the API behind a real HTTP server, with one node whose host keeps a small model of rooms. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  CreateRoomRequest,
  DeleteRoomResponse,
  ListParticipantsResponse,
  MuteRoomTrackRequest,
  MuteRoomTrackResponse,
  type ParticipantInfo,
  PerformRpcRequest,
  PerformRpcResponse,
  Room,
  RoomParticipantIdentity,
  SendDataRequest,
  TrackInfo,
  UpdateParticipantRequest,
  UpdateRoomMetadataRequest,
  UpdateSubscriptionsRequest,
} from '@livekit/protocol';
import type { HostConnector, RoomDirectory, RoomLocation } from '../cluster/directory.ts';
import type { Link } from '../cluster/link.ts';
import { memoryLink } from '../cluster/memory-link.ts';
import { configSchema, type Config } from '../config/options.ts';
import type { TwirpHandler } from '../gateway/twirp-route.ts';
import { PlenumError } from '../lib/errors.ts';
import { createLog } from '../observe/log.ts';
import { nodeId } from '../protocol/ids.ts';
import type {
  CommandResult,
  GatewayToHost,
  HostToGateway,
  RoomCommand,
  RoomMethod,
} from '../protocol/session-messages.ts';
import { verifyToken } from '../protocol/token.ts';
import { RoomClient } from './room-client.ts';
import { createTwirpHandler, type TwirpOutcome } from './twirp-handler.ts';

type ModelRoom = { room: Room; participants: Map<string, ParticipantInfo>; data: SendDataRequest[] };

const notFound = (message: string): CommandResult => ({ ok: false, code: 'not_found', message });

/** Node, directory and connector in one: what the API sees of a cluster. */
export class ModelNode implements RoomDirectory, HostConnector {
  readonly id = nodeId('testnode');
  readonly rooms = new Map<string, ModelRoom>();
  readonly subscriptions: UpdateSubscriptionsRequest[] = [];
  readonly links: Link<HostToGateway, GatewayToHost>[] = [];
  /** What the host does with a command; undefined = as the model says. */
  intercept: ((link: Link<HostToGateway, GatewayToHost>, requestId: number) => void) | undefined;
  hasCapacity = true;

  locate(roomName: string): Promise<RoomLocation | undefined> {
    return Promise.resolve(this.rooms.has(roomName) ? { roomName, nodeId: this.id } : undefined);
  }

  async place(roomName: string): Promise<RoomLocation> {
    if (!this.hasCapacity) {
      throw new PlenumError({ code: 'unavailable', reason: 'no-capacity', message: 'no node may take the room' });
    }
    return { roomName, nodeId: this.id };
  }

  forget(): void {}

  list(names: string[]): Promise<Uint8Array[]> {
    const wanted = [...this.rooms.values()].filter(({ room }) => names.length === 0 || names.includes(room.name));
    return Promise.resolve(wanted.map(({ room }) => room.toBinary()));
  }

  connect(): Link<GatewayToHost, HostToGateway> {
    const [near, far] = memoryLink<GatewayToHost, HostToGateway>({ transfer: structuredClone });
    this.links.push(far);
    far.onMessage((message) => {
      if (message.kind !== 'command') {
        return;
      }
      if (this.intercept !== undefined) {
        this.intercept(far, message.requestId);
        return;
      }
      const result = this.#carryOut(message.roomName, message.command);
      far.send({ kind: 'commandResult', requestId: message.requestId, result });
    });
    return near;
  }

  addRoom(name: string): ModelRoom {
    const added: ModelRoom = { room: new Room({ sid: `RM_${name}`, name }), participants: new Map(), data: [] };
    this.rooms.set(name, added);
    return added;
  }

  addParticipant(roomName: string, participant: ParticipantInfo): void {
    const target = this.rooms.get(roomName) ?? this.addRoom(roomName);
    target.participants.set(participant.identity, participant);
    target.room.numParticipants = target.participants.size;
  }

  #carryOut(roomName: string, command: RoomCommand): CommandResult {
    if (command.method === 'CreateRoom') {
      return this.#createRoom(CreateRoomRequest.fromBinary(command.request));
    }
    const target = this.rooms.get(roomName);
    return target === undefined ? notFound('requested room does not exist') : this.#carryOutIn(target, command);
  }

  #createRoom(request: CreateRoomRequest): CommandResult {
    const { room } = this.rooms.get(request.name) ?? this.addRoom(request.name);
    room.emptyTimeout = request.emptyTimeout || room.emptyTimeout;
    room.maxParticipants = request.maxParticipants || room.maxParticipants;
    room.metadata = request.metadata || room.metadata;
    return { ok: true, response: room.toBinary() };
  }

  #carryOutIn(target: ModelRoom, { method, request }: RoomCommand): CommandResult {
    switch (method) {
      case 'CreateRoom':
        return this.#createRoom(CreateRoomRequest.fromBinary(request));
      case 'DeleteRoom':
        this.rooms.delete(target.room.name);
        return { ok: true, response: new DeleteRoomResponse().toBinary() };
      case 'ListParticipants': {
        const participants = [...target.participants.values()];
        return { ok: true, response: new ListParticipantsResponse({ participants }).toBinary() };
      }
      case 'UpdateRoomMetadata':
        target.room.metadata = UpdateRoomMetadataRequest.fromBinary(request).metadata;
        return { ok: true, response: target.room.toBinary() };
      case 'SendData':
        target.data.push(SendDataRequest.fromBinary(request));
        return { ok: true, response: new Uint8Array() };
      case 'PerformRpc':
        return performRpc(target, PerformRpcRequest.fromBinary(request));
      default:
        return this.#carryOutOn(target, { method, request });
    }
  }

  #carryOutOn(target: ModelRoom, { method, request }: RoomCommand): CommandResult {
    const identity = identityIn(method, request);
    const participant = target.participants.get(identity);
    if (participant === undefined) {
      return notFound('participant does not exist');
    }
    switch (method) {
      case 'RemoveParticipant':
        target.participants.delete(identity);
        return { ok: true, response: new Uint8Array() };
      case 'MutePublishedTrack':
        return mute(participant, MuteRoomTrackRequest.fromBinary(request));
      case 'UpdateParticipant':
        return update(participant, UpdateParticipantRequest.fromBinary(request));
      case 'UpdateSubscriptions':
        this.subscriptions.push(UpdateSubscriptionsRequest.fromBinary(request));
        return { ok: true, response: new Uint8Array() };
      default:
        return { ok: true, response: participant.toBinary() };
    }
  }
}

function identityIn(method: RoomMethod, request: Uint8Array): string {
  switch (method) {
    case 'MutePublishedTrack':
      return MuteRoomTrackRequest.fromBinary(request).identity;
    case 'UpdateParticipant':
      return UpdateParticipantRequest.fromBinary(request).identity;
    case 'UpdateSubscriptions':
      return UpdateSubscriptionsRequest.fromBinary(request).identity;
    default:
      return RoomParticipantIdentity.fromBinary(request).identity;
  }
}

function mute(participant: ParticipantInfo, request: MuteRoomTrackRequest): CommandResult {
  const track = participant.tracks.find(({ sid }) => sid === request.trackSid);
  if (track === undefined) {
    return notFound('track is not found');
  }
  if (!request.muted) {
    return { ok: false, code: 'failed_precondition', message: 'cannot unmute track, remote unmute is disabled' };
  }
  track.muted = true;
  return { ok: true, response: new MuteRoomTrackResponse({ track: new TrackInfo(track) }).toBinary() };
}

function update(participant: ParticipantInfo, request: UpdateParticipantRequest): CommandResult {
  participant.name = request.name || participant.name;
  participant.metadata = request.metadata || participant.metadata;
  participant.attributes = { ...participant.attributes, ...request.attributes };
  if (request.permission !== undefined) {
    participant.permission = request.permission;
  }
  return { ok: true, response: participant.toBinary() };
}

/** Every participant of the model answers with its method and payload, except that it knows no method `missing`. */
function performRpc(target: ModelRoom, request: PerformRpcRequest): CommandResult {
  if (!target.participants.has(request.destinationIdentity)) {
    return notFound('participant does not exist');
  }
  if (request.method === 'missing') {
    return {
      ok: false,
      code: 'unimplemented',
      message: 'Method not supported at destination',
      meta: { rpc_code: '1400' },
    };
  }
  return { ok: true, response: new PerformRpcResponse({ payload: `${request.method}:${request.payload}` }).toBinary() };
}

export type ApiTestServer = {
  url: string;
  node: ModelNode;
  client: RoomClient;
  outcomes: TwirpOutcome[];
  close(): Promise<void>;
};

const testKeys: Record<string, string> = { devkey: 'secret' };

export async function startApiTestServer(limits: Partial<Config['limit']> = {}): Promise<ApiTestServer> {
  const node = new ModelNode();
  const client = new RoomClient({ connector: node });
  const outcomes: TwirpOutcome[] = [];
  const handler = createTwirpHandler({
    directory: node,
    client,
    limits: { ...configSchema.parse({}).limit, ...limits },
    observer: { requestFinished: (outcome) => void outcomes.push(outcome) },
    log: createLog({ level: 'silent', json: true }),
  });
  const server = createServer((request, response) => void serve(handler, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    node,
    client,
    outcomes,
    close: async () => {
      client.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function serve(handler: TwirpHandler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
  const check =
    token === undefined ? undefined : verifyToken(token, { secretOf: (key) => testKeys[key], nowS: Date.now() / 1000 });
  if (check?.ok === false) {
    response.writeHead(check.refusal.status, { 'content-type': 'text/plain' }).end(check.refusal.body);
    return;
  }
  const reply = await handler({
    path: request.url ?? '',
    contentType: request.headers['content-type'] ?? '',
    body: Buffer.concat(chunks),
    signal: gone.signal,
    ...(check === undefined ? {} : { claims: check.claims }),
  });
  response.writeHead(reply.status, { 'content-type': reply.contentType }).end(reply.body);
}
