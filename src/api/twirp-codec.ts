/** Twirp's wire format: content types, protobuf and JSON bodies, error bodies. */
import type { JsonObject, JsonValue, Message, MessageType } from '@bufbuild/protobuf';
import type { PlenumError } from '../lib/errors.ts';
import { twirpStatus, type TwirpCode } from '../protocol/twirp.ts';
import { badRoute, malformedRequest } from './errors.ts';

export type TwirpFormat = 'json' | 'protobuf';

export type TwirpReply = { status: number; contentType: string; body: Uint8Array };

/** Throws `bad_route`, as Twirp does, when the content type is neither JSON nor protobuf. */
export function parseFormat(contentType: string, path: string): TwirpFormat {
  const mediaType = contentType.split(';', 1)[0]?.trim().toLowerCase();
  if (mediaType === 'application/json') {
    return 'json';
  }
  if (mediaType === 'application/protobuf') {
    return 'protobuf';
  }
  throw badRoute(`unexpected Content-Type: ${JSON.stringify(contentType.slice(0, 100))}`, path);
}

/** Throws `malformed` when the body is not that message. Fields of newer SDKs are ignored. */
export function parseRequest<T extends Message<T>>(type: MessageType<T>, format: TwirpFormat, body: Uint8Array): T {
  try {
    if (format === 'protobuf') {
      return type.fromBinary(body);
    }
    return type.fromJson(parseJson(body), { ignoreUnknownFields: true });
  } catch (error) {
    throw malformedRequest(format, error);
  }
}

function parseJson(body: Uint8Array): JsonValue {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as JsonValue;
}

/** `response` is the protobuf; it is not decoded when the client speaks protobuf too. */
export function formatResponse<T extends Message<T>>(
  type: MessageType<T>,
  format: TwirpFormat,
  response: Uint8Array,
): TwirpReply {
  if (format === 'protobuf') {
    return { status: 200, contentType: 'application/protobuf', body: response };
  }
  // Proto field names and explicit defaults are what LiveKit writes; scripts with jq rely on both.
  const json = type.fromBinary(response).toJson({ emitDefaultValues: true, useProtoFieldName: true });
  return { status: 200, contentType: 'application/json', body: encodeJson(json) };
}

export function formatError(code: TwirpCode, message: string, meta: Record<string, string> = {}): TwirpReply {
  const json: JsonObject = { code, msg: message };
  if (Object.keys(meta).length > 0) {
    json['meta'] = meta;
  }
  // livekit-server-sdk compares the content type with ===, so it must carry no charset.
  return { status: twirpStatus[code], contentType: 'application/json', body: encodeJson(json) };
}

export function formatPlenumError(error: PlenumError): TwirpReply {
  return formatError(error.code, error.message, error.details);
}

function encodeJson(value: JsonValue): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
