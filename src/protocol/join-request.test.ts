import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  ClientInfo_Capability,
  ClientInfo_SDK,
  JoinRequest,
  SignalRequest,
  TrackType,
  WrappedJoinRequest,
  WrappedJoinRequest_Compression,
} from '@livekit/protocol';
import { clientFactsOf, decodeJoinRequest, earlyMessages, isRefusal } from './join-request.ts';

const request = new JoinRequest({
  clientInfo: {
    sdk: ClientInfo_SDK.NODE,
    version: '0.13.26',
    protocol: 17,
    capabilities: [ClientInfo_Capability.CAP_UNUSED, ClientInfo_Capability.CAP_PACKET_TRAILER],
  },
  addTrackRequests: [{ cid: 'mic', type: TrackType.AUDIO }],
  publisherOffer: { type: 'offer', sdp: 'v=0', id: 0 },
});

function wrap(joinRequest: Uint8Array, compression = WrappedJoinRequest_Compression.NONE): string {
  return Buffer.from(new WrappedJoinRequest({ compression, joinRequest }).toBinary()).toString('base64url');
}

function decoded(text: string): JoinRequest | string {
  const result = decodeJoinRequest(text, (packed, maxOutputLength) => gunzipSync(packed, { maxOutputLength }));
  return isRefusal(result) ? `${result.status} ${result.body}` : result;
}

describe('join request', () => {
  it('is read as it is, and compressed, with padding and without', () => {
    const bytes = request.toBinary();
    for (const text of [wrap(bytes), wrap(gzipSync(bytes), WrappedJoinRequest_Compression.GZIP)]) {
      const padded = text.padEnd(Math.ceil(text.length / 4) * 4, '=');
      assert.deepEqual([decoded(text), decoded(padded)], [request, request]);
    }
  });

  it('that is none is refused, and so is one that inflates without end', () => {
    for (const text of ['*', 'a b', wrap(Uint8Array.of(255, 255))]) {
      assert.equal(decoded(text), '400 join_request is malformed');
    }
    assert.equal(
      decoded(wrap(Uint8Array.of(1, 2, 3), WrappedJoinRequest_Compression.GZIP)),
      '400 join_request is malformed',
    );
    const bomb = wrap(gzipSync(Buffer.alloc(2 * 1024 * 1024)), WrappedJoinRequest_Compression.GZIP);
    assert.equal(decoded(bomb), '400 join request too large');
  });

  it('tells who the client is, with texts of a bounded length', () => {
    const facts = clientFactsOf(request.clientInfo, { userAgent: 'x', address: '192.0.2.1' });
    assert.deepEqual([facts.sdk, facts.protocol, facts.capabilities], [ClientInfo_SDK.NODE, 17, [1]]);
    const long = new JoinRequest({ clientInfo: { browser: 'b'.repeat(1000) } });
    assert.equal(clientFactsOf(long.clientInfo, { userAgent: '', address: '' }).browser.length, 256);
  });

  it('holds what the client would say next: its tracks, then its offer', () => {
    const messages = earlyMessages(request).map((bytes) => SignalRequest.fromBinary(bytes).message);
    assert.deepEqual(
      messages.map((message) => message.case),
      ['addTrack', 'offer'],
    );
    assert.deepEqual(earlyMessages(new JoinRequest()), []);
  });
});
