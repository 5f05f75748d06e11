/** What the claims of an access token may look like (LiveKit contract: `iss`, `sub`, `video`, …), and what they mean here. */
import { ParticipantInfo_Kind, ParticipantInfo_KindDetail, RoomConfiguration, TrackSource } from '@livekit/protocol';
import { z } from 'zod';
import type { VideoGrants } from './session-messages.ts';

/** The verified content of an access token, defaults resolved. */
export type AccessClaims = {
  /** Key whose secret signed the token (`iss`). */
  apiKey: string;
  /** `sub`, or `jti` when `sub` is empty; empty when the token names nobody. */
  identity: string;
  name: string;
  metadata: string;
  attributes: Record<string, string>;
  /** LiveKit `ParticipantInfo.Kind` number. */
  kind: number;
  /** LiveKit `ParticipantInfo.KindDetail` numbers. */
  kindDetails: number[];
  /**
   * The holder may take nodes out of service (claim `plenum.nodeAdmin`). Nothing that a room gives out ever has it.
   */
  isNodeAdmin?: boolean;
  /** Undefined when the token has no `video` claim. */
  grants: VideoGrants | undefined;
  /** Protobuf `RoomConfiguration` of the `roomConfig` claim. */
  roomConfiguration: Uint8Array | undefined;
  /** Empty when the token names no preset. */
  roomPreset: string;
  /** Base64 SHA-256 of the request body that the token vouches for; empty when it vouches for none. */
  sha256: string;
  /** Unix seconds. */
  expiresAtS: number;
  /** `nbf`, Unix seconds; absent when the token has none. */
  notBeforeS?: number;
};

// Go's JSON decoder, which the reference server uses, reads null as "not given"; tokens written by hand rely on it.
const text = z.string().nullish();
const flag = z.boolean().nullish();

const videoSchema = z.object({
  roomCreate: flag,
  roomList: flag,
  roomRecord: flag,
  roomAdmin: flag,
  roomJoin: flag,
  room: text,
  destinationRoom: text,
  canPublish: flag,
  canSubscribe: flag,
  canPublishData: flag,
  canPublishSources: z.array(z.string()).nullish(),
  canUpdateOwnMetadata: flag,
  canSubscribeMetrics: flag,
  canManageAgentSession: flag,
  hidden: flag,
  recorder: flag,
  agent: flag,
});

export const claimsSchema = z.object({
  iss: z.string(),
  sub: text,
  jti: text,
  exp: z.number(),
  nbf: z.number().nullish(),
  name: text,
  metadata: text,
  attributes: z.record(z.string(), z.string()).nullish(),
  kind: text,
  kindDetails: z.array(z.string()).nullish(),
  video: videoSchema.nullish(),
  plenum: z.object({ nodeAdmin: flag }).nullish(),
  roomConfig: z.unknown().optional(),
  roomPreset: text,
  sha256: text,
});

type RawClaims = z.infer<typeof claimsSchema>;

/** @throws Error when `roomConfig` is not the protojson of a RoomConfiguration. */
export function toAccessClaims(raw: RawClaims): AccessClaims {
  return {
    apiKey: raw.iss,
    identity: raw.sub || raw.jti || '',
    name: raw.name ?? '',
    metadata: raw.metadata ?? '',
    // A null prototype would survive structuredClone as a plain object anyway; the copy only drops zod's own object.
    attributes: { ...raw.attributes },
    kind: enumNumber(ParticipantInfo_Kind, raw.kind ?? '') ?? ParticipantInfo_Kind.STANDARD,
    kindDetails: (raw.kindDetails ?? []).flatMap((name) => enumNumber(ParticipantInfo_KindDetail, name) ?? []),
    ...(raw.plenum?.nodeAdmin === true ? { isNodeAdmin: true } : {}),
    grants: raw.video ? toVideoGrants(raw.video) : undefined,
    roomConfiguration: toRoomConfiguration(raw.roomConfig),
    roomPreset: raw.roomPreset ?? '',
    sha256: raw.sha256 ?? '',
    expiresAtS: raw.exp,
    ...(typeof raw.nbf === 'number' ? { notBeforeS: raw.nbf } : {}),
  };
}

function toVideoGrants(video: z.infer<typeof videoSchema>): VideoGrants {
  const canPublish = video.canPublish ?? true;
  return {
    roomCreate: video.roomCreate ?? false,
    roomList: video.roomList ?? false,
    roomRecord: video.roomRecord ?? false,
    roomAdmin: video.roomAdmin ?? false,
    roomJoin: video.roomJoin ?? false,
    room: video.room ?? '',
    destinationRoom: video.destinationRoom ?? '',
    canPublish,
    canSubscribe: video.canSubscribe ?? true,
    canPublishData: video.canPublishData ?? canPublish,
    // A name that is not known becomes UNKNOWN instead of vanishing: an empty list would allow every source.
    canPublishSources: (video.canPublishSources ?? []).map(
      (name) => enumNumber(TrackSource, name) ?? TrackSource.UNKNOWN,
    ),
    canUpdateOwnMetadata: video.canUpdateOwnMetadata ?? false,
    canSubscribeMetrics: video.canSubscribeMetrics ?? false,
    canManageAgentSession: video.canManageAgentSession ?? false,
    hidden: video.hidden ?? false,
    recorder: video.recorder ?? false,
    agent: video.agent ?? false,
  };
}

function toRoomConfiguration(roomConfig: unknown): Uint8Array | undefined {
  if (roomConfig === undefined || roomConfig === null) {
    return undefined;
  }
  // The cast is safe: `roomConfig` came out of JSON.parse, so it is JSON, and fromJson checks its shape.
  const json = roomConfig as Parameters<typeof RoomConfiguration.fromJson>[0];
  return RoomConfiguration.fromJson(json, { ignoreUnknownFields: true }).toBinary();
}

type ProtobufEnum = Record<string, string | number>;

/** Token claims write enum values in lower case (`screen_share`, `agent`). */
function enumNumber(enumObject: ProtobufEnum, name: string): number | undefined {
  const key = name.toUpperCase();
  const value = Object.hasOwn(enumObject, key) ? enumObject[key] : undefined;
  return typeof value === 'number' ? value : undefined;
}

function enumName(enumObject: ProtobufEnum, value: number): string {
  const name = enumObject[value];
  return typeof name === 'string' ? name.toLowerCase() : '';
}

/** What a token says about a participant; the same facts that `AccessClaims` carries, as they are now. */
export type ParticipantClaims = Pick<
  AccessClaims,
  'identity' | 'name' | 'metadata' | 'attributes' | 'kind' | 'kindDetails'
> & {
  grants: VideoGrants;
  roomConfiguration?: Uint8Array | undefined;
};

/** The claims as they stand in a token: names instead of numbers, empty ones left out. */
export function fromParticipantClaims(participant: ParticipantClaims): Record<string, unknown> {
  const { grants, roomConfiguration } = participant;
  return {
    sub: participant.identity,
    ...(participant.name === '' ? {} : { name: participant.name }),
    ...(participant.metadata === '' ? {} : { metadata: participant.metadata }),
    ...(Object.keys(participant.attributes).length === 0 ? {} : { attributes: participant.attributes }),
    kind: enumName(ParticipantInfo_Kind, participant.kind) || 'standard',
    ...(participant.kindDetails.length === 0
      ? {}
      : { kindDetails: participant.kindDetails.map((detail) => enumName(ParticipantInfo_KindDetail, detail)) }),
    video: { ...grants, canPublishSources: grants.canPublishSources.map((source) => enumName(TrackSource, source)) },
    ...(roomConfiguration === undefined
      ? {}
      : { roomConfig: RoomConfiguration.fromBinary(roomConfiguration).toJson() }),
  };
}
