/** The checks between a verified token plus the query of `/rtc` and a join that the room host may trust. */
import type { JoinRequest } from '@livekit/protocol';
import { integerParameter, parseClientFacts } from './client-facts.ts';
import { type HttpRefusal, httpRefusal, joinRefusal } from './http-errors.ts';
import { clientFactsOf, decodeJoinRequest, earlyMessages, type Inflate, isRefusal } from './join-request.ts';
import { usesLibwebrtc } from './libwebrtc-clients.ts';
import type { JoinParameters, VideoGrants } from './session-messages.ts';
import type { AccessClaims } from './token-claims.ts';

/** The part of `Config.limit` that a join is held against; sizes of 0 mean no limit, as in LiveKit. */
export type JoinLimits = {
  /** Bytes. */
  max_metadata_size: number;
  /** Bytes of all keys and values. */
  max_attributes_size: number;
  max_room_name_length: number;
  max_participant_identity_length: number;
  max_participant_name_length: number;
};

export type JoinSource = {
  /** Undefined when the request carries no token. */
  claims: AccessClaims | undefined;
  query: URLSearchParams;
  userAgent: string;
  /** The client's address as far as the gateway believes it. */
  address: string;
  /** `validate` is stricter about malformed attributes, since its purpose is to tell the client what is wrong. */
  route: 'rtc' | 'validate';
  /** `/rtc/v1`: there has to be a `join_request`. */
  needsRequest?: boolean;
  /** Of a `join_request` that is packed. */
  inflate: Inflate;
  limits: JoinLimits;
};

export type JoinCheck = { ok: true; join: JoinParameters } | { ok: false; refusal: HttpRefusal };

/** Which fault is reported when there are several is part of the contract: the order below. Never throws. */
export function parseJoin(source: JoinSource): JoinCheck {
  const { claims, limits } = source;
  if (claims?.grants === undefined) {
    return refused(joinRefusal.permissionsDenied);
  }
  const request = readRequest(source);
  if (request !== undefined && isRefusal(request)) {
    return refused(request);
  }
  const { grants } = claims;
  if (!grants.roomJoin) {
    return refused(joinRefusal.permissionsDenied);
  }
  const nameFault = findNameFault(claims, grants, limits);
  if (nameFault !== undefined) {
    return refused(nameFault);
  }
  const publisher = parsePublisher(source, { claims, grants, request });
  if ('status' in publisher) {
    return refused(publisher);
  }
  const described = describe(source, { claims, grants, request });
  if ('refusal' in described) {
    return refused(described.refusal);
  }
  const sizeFault = findSizeFault(described.metadata, described.attributes, limits);
  return sizeFault === undefined
    ? { ok: true, join: toJoin(source, { claims, request, publisher, ...described }) }
    : refused(sizeFault);
}

function readRequest({
  query,
  needsRequest,
  inflate,
  userAgent,
  address,
}: JoinSource): JoinRequest | HttpRefusal | undefined {
  const text = query.get('join_request') ?? '';
  if (text === '') {
    return needsRequest === true ? joinRefusal.joinRequestMissing : undefined;
  }
  const request = decodeJoinRequest(text, inflate);
  // Kinds of clients that were never tried on one connection get the 404 on which they use two.
  const isTried = isRefusal(request) || usesLibwebrtc(clientFactsOf(request.clientInfo, { userAgent, address }));
  return isTried ? request : httpRefusal.notFound;
}

type Asked = { claims: AccessClaims; grants: VideoGrants; request: JoinRequest | undefined };

function findNameFault(claims: AccessClaims, grants: VideoGrants, limits: JoinLimits): HttpRefusal | undefined {
  if (claims.identity === '') {
    return joinRefusal.identityEmpty;
  }
  if (claims.identity.length > limits.max_participant_identity_length) {
    return joinRefusal.identityTooLong(limits.max_participant_identity_length);
  }
  if (grants.room === '') {
    return joinRefusal.noRoomName;
  }
  if (grants.room.length > limits.max_room_name_length) {
    return joinRefusal.roomNameTooLong(limits.max_room_name_length);
  }
  if (claims.name.length > limits.max_participant_name_length) {
    return joinRefusal.nameTooLong(limits.max_participant_name_length);
  }
  return undefined;
}

type Publisher = { identity: string; grants: VideoGrants; autoSubscribe: boolean };

/** Old clients open a second, publish-only session under `<identity>#<publish>`. */
function parsePublisher(source: JoinSource, { claims, grants, request }: Asked): Publisher | HttpRefusal {
  const { query, limits } = source;
  const { identity } = claims;
  const publish = query.get('publish') ?? '';
  if (publish === '') {
    const asked = request === undefined ? flagParameter(query, 'auto_subscribe', true) : undefined;
    return { identity, grants, autoSubscribe: asked ?? request?.connectionSettings?.autoSubscribe ?? false };
  }
  if (!grants.canPublish) {
    return joinRefusal.permissionsDenied;
  }
  const suffixed = `${identity}#${publish}`;
  if (suffixed.length > limits.max_participant_identity_length) {
    return joinRefusal.identityTooLong(limits.max_participant_identity_length);
  }
  return { identity: suffixed, grants: { ...grants, canSubscribe: false }, autoSubscribe: false };
}

type Attributes = Record<string, string>;

type Described = { metadata: string; attributes: Attributes };

/** What the client says over what its token does; an empty value does not delete. */
function describe(source: JoinSource, { claims, grants, request }: Asked): Described | { refusal: HttpRefusal } {
  const { metadata, attributes } = claims;
  const encoded = source.query.get('attributes') ?? '';
  const queried = encoded === '' ? {} : parseAttributes(encoded);
  if (request === undefined && queried === undefined) {
    return source.route === 'validate' ? { refusal: joinRefusal.attributesMalformed } : { metadata, attributes };
  }
  const entries = Object.entries(request?.participantAttributes ?? queried ?? {});
  const givenMetadata = request?.metadata ?? '';
  if ((entries.length > 0 || givenMetadata !== '') && !grants.canUpdateOwnMetadata) {
    return { refusal: joinRefusal.permissionsDenied };
  }
  return {
    metadata: givenMetadata || metadata,
    attributes: { ...attributes, ...Object.fromEntries(entries.filter(([, value]) => value !== '')) },
  };
}

function parseAttributes(encoded: string): Attributes | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return undefined;
  }
  const entries = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return entries.length === Object.keys(value).length ? Object.fromEntries(entries) : undefined;
}

function findSizeFault(metadata: string, attributes: Attributes, limits: JoinLimits): HttpRefusal | undefined {
  if (limits.max_metadata_size > 0 && Buffer.byteLength(metadata) > limits.max_metadata_size) {
    return joinRefusal.metadataTooLarge(limits.max_metadata_size);
  }
  let sizeBytes = 0;
  for (const [key, value] of Object.entries(attributes)) {
    sizeBytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (limits.max_attributes_size > 0 && sizeBytes > limits.max_attributes_size) {
    return joinRefusal.attributesTooLarge(limits.max_attributes_size);
  }
  return undefined;
}

function toJoin(
  source: JoinSource,
  about: Described & { claims: AccessClaims; publisher: Publisher; request: JoinRequest | undefined },
): JoinParameters {
  const { query } = source;
  const { claims, publisher, request, metadata, attributes } = about;
  const join: JoinParameters = {
    roomName: publisher.grants.room,
    identity: publisher.identity,
    name: claims.name,
    metadata,
    attributes,
    kind: claims.kind,
    kindDetails: claims.kindDetails,
    grants: publisher.grants,
    client: request === undefined ? parseClientFacts(source) : clientFactsOf(request.clientInfo, source),
    autoSubscribe: publisher.autoSubscribe,
    adaptiveStream: request?.connectionSettings?.adaptiveStream ?? flagParameter(query, 'adaptive_stream', false),
    ...(asksForDataTracks(query, request) ? { autoSubscribeDataTracks: true } : {}),
    apiKey: claims.apiKey,
    tokenExpiresAtS: claims.expiresAtS,
    ...(claims.notBeforeS === undefined ? {} : { tokenNotBeforeS: claims.notBeforeS }),
  };
  if (claims.roomConfiguration !== undefined) {
    join.roomConfiguration = claims.roomConfiguration;
  }
  if (request !== undefined) {
    return { ...join, ...ofRequest(request) };
  }
  if (flagParameter(query, 'reconnect', false)) {
    join.resume = { participantSid: query.get('sid') ?? '', reason: integerParameter(query, 'reconnect_reason') };
  }
  return join;
}

function asksForDataTracks(query: URLSearchParams, request: JoinRequest | undefined): boolean {
  return (
    request?.connectionSettings?.autoSubscribeDataTrack ?? flagParameter(query, 'auto_subscribe_data_track', false)
  );
}

function ofRequest(request: JoinRequest): Partial<JoinParameters> {
  const singlePeerConnection = true;
  if (request.reconnect) {
    const { participantSid, reconnectReason: reason } = request;
    return { singlePeerConnection, resume: { participantSid, reason } };
  }
  return { singlePeerConnection, earlyMessages: earlyMessages(request) };
}

function flagParameter(query: URLSearchParams, name: string, fallback: boolean): boolean {
  const value = query.get(name);
  return value === null || value === '' ? fallback : value === '1' || value.toLowerCase() === 'true';
}

function refused(refusal: HttpRefusal): JoinCheck {
  return { ok: false, refusal };
}
