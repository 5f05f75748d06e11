/** The `join_request` of `/rtc/v1`: everything that a client says when it joins, and its first offer, in one parameter. */
import {
  ClientInfo,
  JoinRequest,
  SignalRequest,
  WrappedJoinRequest,
  WrappedJoinRequest_Compression,
} from '@livekit/protocol';
import { limitText, maxCapabilities, withUserAgent } from './client-facts.ts';
import { type HttpRefusal, joinRefusal } from './http-errors.ts';
import type { ClientFacts } from './session-messages.ts';

/** Unpacks gzip; throws when the bytes are none, or when there are more than `maxBytes` in them. */
export type Inflate = (packed: Uint8Array, maxBytes: number) => Uint8Array;

/** An offer with seven sections is about 10 kB; what does not fit is no honest request. */
const maxRequestBytes = 1024 * 1024;
/** A participant may have so many announced tracks anyway. */
const maxAnnouncedTracks = 20;

/** @param text base64url, padded or not. Never throws. */
export function decodeJoinRequest(text: string, inflate: Inflate): JoinRequest | HttpRefusal {
  if (!/^[\w-]+={0,2}$/.test(text)) {
    return joinRefusal.joinRequestMalformed;
  }
  try {
    const bytes = unwrap(WrappedJoinRequest.fromBinary(Buffer.from(text, 'base64url')), inflate);
    return bytes.byteLength > maxRequestBytes ? joinRefusal.joinRequestTooLarge : JoinRequest.fromBinary(bytes);
  } catch (error) {
    const { code } = error as { code?: unknown };
    return code === 'ERR_BUFFER_TOO_LARGE' ? joinRefusal.joinRequestTooLarge : joinRefusal.joinRequestMalformed;
  }
}

function unwrap({ compression, joinRequest }: WrappedJoinRequest, inflate: Inflate): Uint8Array {
  return compression === WrappedJoinRequest_Compression.GZIP ? inflate(joinRequest, maxRequestBytes) : joinRequest;
}

export function isRefusal(decoded: JoinRequest | HttpRefusal): decoded is HttpRefusal {
  return 'status' in decoded;
}

/** What a client says about itself; texts are bounded as those of the query are. */
export function clientFactsOf(
  info: ClientInfo | undefined,
  source: { userAgent: string; address: string },
): ClientFacts {
  const stated = info ?? new ClientInfo();
  const facts: ClientFacts = {
    sdk: stated.sdk,
    version: limitText(stated.version),
    protocol: Math.max(0, stated.protocol),
    clientProtocol: Math.max(0, stated.clientProtocol),
    os: limitText(stated.os),
    osVersion: limitText(stated.osVersion),
    deviceModel: limitText(stated.deviceModel),
    browser: limitText(stated.browser),
    browserVersion: limitText(stated.browserVersion),
    network: limitText(stated.network),
    address: source.address,
    capabilities: [...new Set(stated.capabilities)].filter((number) => number !== 0).slice(0, maxCapabilities),
  };
  return withUserAgent(facts, source.userAgent);
}

/** What the request holds beside the join itself, as the messages that a client would send after it, in their order. */
export function earlyMessages(request: JoinRequest): Uint8Array[] {
  const messages: SignalRequest['message'][] = request.addTrackRequests
    .slice(0, maxAnnouncedTracks)
    .map((value) => ({ case: 'addTrack', value }));
  if (request.publisherOffer !== undefined && request.publisherOffer.sdp !== '') {
    messages.push({ case: 'offer', value: request.publisherOffer });
  }
  return messages.map((message) => new SignalRequest({ message }).toBinary());
}
