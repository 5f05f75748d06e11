/** The checks between a verified token plus the query of `/rtc` and a join that the room host may trust. */
import { integerParameter, parseClientFacts } from './client-facts.ts';
import { type HttpRefusal, joinRefusal } from './http-errors.ts';
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
  limits: JoinLimits;
};

export type JoinCheck = { ok: true; join: JoinParameters } | { ok: false; refusal: HttpRefusal };

/** Which fault is reported when there are several is part of the contract: the order below. Never throws. */
export function parseJoin(source: JoinSource): JoinCheck {
  const { claims, query, limits } = source;
  if (claims?.grants === undefined) {
    return refused(joinRefusal.permissionsDenied);
  }
  if (query.has('join_request')) {
    return refused(joinRefusal.singlePeerConnection);
  }
  const { grants } = claims;
  if (!grants.roomJoin) {
    return refused(joinRefusal.permissionsDenied);
  }
  const nameFault = findNameFault(claims, grants, limits);
  if (nameFault !== undefined) {
    return refused(nameFault);
  }
  const publisher = parsePublisher(source, claims.identity, grants);
  if ('status' in publisher) {
    return refused(publisher);
  }
  const attributes = mergeAttributes(source, claims.attributes, grants);
  if ('refusal' in attributes) {
    return refused(attributes.refusal);
  }
  const sizeFault = findSizeFault(claims.metadata, attributes.merged, limits);
  return sizeFault === undefined
    ? { ok: true, join: toJoin(source, claims, publisher, attributes.merged) }
    : refused(sizeFault);
}

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
function parsePublisher(source: JoinSource, identity: string, grants: VideoGrants): Publisher | HttpRefusal {
  const { query, limits } = source;
  const publish = query.get('publish') ?? '';
  if (publish === '') {
    return { identity, grants, autoSubscribe: flagParameter(query, 'auto_subscribe', true) };
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

/** Attributes of the query over those of the token; an empty value does not delete. */
function mergeAttributes(
  source: JoinSource,
  tokens: Attributes,
  grants: VideoGrants,
): { merged: Attributes } | { refusal: HttpRefusal } {
  const encoded = source.query.get('attributes') ?? '';
  const given = encoded === '' ? {} : parseAttributes(encoded);
  if (given === undefined) {
    return source.route === 'validate' ? { refusal: joinRefusal.attributesMalformed } : { merged: tokens };
  }
  const entries = Object.entries(given);
  if (entries.length > 0 && !grants.canUpdateOwnMetadata) {
    return { refusal: joinRefusal.permissionsDenied };
  }
  return { merged: { ...tokens, ...Object.fromEntries(entries.filter(([, value]) => value !== '')) } };
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
  claims: AccessClaims,
  publisher: Publisher,
  attributes: Attributes,
): JoinParameters {
  const { query } = source;
  const join: JoinParameters = {
    roomName: publisher.grants.room,
    identity: publisher.identity,
    name: claims.name,
    metadata: claims.metadata,
    attributes,
    kind: claims.kind,
    kindDetails: claims.kindDetails,
    grants: publisher.grants,
    client: parseClientFacts(source),
    autoSubscribe: publisher.autoSubscribe,
    adaptiveStream: flagParameter(query, 'adaptive_stream', false),
    ...(flagParameter(query, 'auto_subscribe_data_track', false) ? { autoSubscribeDataTracks: true } : {}),
    apiKey: claims.apiKey,
    tokenExpiresAtS: claims.expiresAtS,
    ...(claims.notBeforeS === undefined ? {} : { tokenNotBeforeS: claims.notBeforeS }),
    ...((query.get('subscriber_allow_pause') ?? '') === ''
      ? {}
      : { allowPause: flagParameter(query, 'subscriber_allow_pause', false) }),
  };
  if (claims.roomConfiguration !== undefined) {
    join.roomConfiguration = claims.roomConfiguration;
  }
  if (flagParameter(query, 'reconnect', false)) {
    join.resume = { participantSid: query.get('sid') ?? '', reason: integerParameter(query, 'reconnect_reason') };
  }
  return join;
}

function flagParameter(query: URLSearchParams, name: string, fallback: boolean): boolean {
  const value = query.get(name);
  return value === null || value === '' ? fallback : value === '1' || value.toLowerCase() === 'true';
}

function refused(refusal: HttpRefusal): JoinCheck {
  return { ok: false, refusal };
}
