/** Refusals of the HTTP edge: status and text body. Clients compare some of these texts, so they are part of the contract. */

export type HttpRefusal = { status: number; body: string };

export const tokenRefusal = {
  /** The `Authorization` header does not start with `Bearer `. */
  notBearer: { status: 401, body: 'invalid authorization header. Must start with Bearer ' },
  /** Not a JWT, or not one with HS256. */
  malformed: { status: 401, body: 'invalid authorization token' },
  /** The issuer is not one of our API keys. */
  unknownKey: { status: 401, body: 'invalid API key' },
  /** Wrong signature, time or claims. */
  invalid: (why: string): HttpRefusal => ({ status: 401, body: `invalid authorization token: ${why}` }),
} as const;

export const joinRefusal = {
  permissionsDenied: { status: 401, body: 'permissions denied' },
  joinRequestMissing: { status: 400, body: 'join_request is required' },
  joinRequestMalformed: { status: 400, body: 'join_request is malformed' },
  joinRequestTooLarge: { status: 400, body: 'join request too large' },
  identityEmpty: { status: 400, body: 'identity cannot be empty' },
  identityTooLong: (max: number): HttpRefusal => ({
    status: 400,
    body: `participant identity length exceeds limits: max length ${max}`,
  }),
  noRoomName: { status: 400, body: 'no room name' },
  roomNameTooLong: (max: number): HttpRefusal => ({
    status: 400,
    body: `room name length exceeds limits: max length ${max}`,
  }),
  nameTooLong: (max: number): HttpRefusal => ({
    status: 400,
    body: `participant name length exceeds limits: max length ${max}`,
  }),
  metadataTooLarge: (max: number): HttpRefusal => ({
    status: 400,
    body: `metadata size exceeds limits: max size ${max}`,
  }),
  attributesTooLarge: (max: number): HttpRefusal => ({
    status: 400,
    body: `attribute size exceeds limits: max size ${max}`,
  }),
  attributesMalformed: { status: 400, body: 'attributes is not base64url of a JSON map of strings' },
  /** livekit-client takes a 404 with exactly this text as final, so it is never used while a room may come back. */
  roomMissing: { status: 404, body: 'requested room does not exist' },
  notWebSocket: { status: 400, body: 'not a WebSocket handshake' },
  tooManyJoins: { status: 503, body: 'too many joins under way' },
  tooManyConnections: { status: 503, body: 'too many connections' },
  draining: { status: 503, body: 'server is shutting down' },
  noAnswer: { status: 503, body: 'the room did not answer in time' },
  hostLost: { status: 503, body: 'the node of the room was lost' },
  internal: { status: 500, body: 'internal error' },
} as const;

export const httpRefusal = {
  notFound: { status: 404, body: 'not found' },
  methodNotAllowed: { status: 405, body: 'method not allowed' },
  badUrl: { status: 400, body: 'malformed URL' },
  bodyTooLarge: { status: 413, body: 'request body too large' },
  tooManyRequests: { status: 429, body: 'too many requests' },
} as const;
