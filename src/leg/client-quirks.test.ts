import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClientInfo_SDK } from '@livekit/protocol';
import { parseClientFacts } from '../protocol/client-facts.ts';
import { missesReturningTracks, missesStreamlessTracks } from './client-quirks.ts';

const client = (sdk: string, version: string, others: Record<string, string> = {}) =>
  parseClientFacts({
    query: new URLSearchParams({ sdk, version, protocol: '11', ...others }),
    userAgent: '',
    address: '',
  });

describe('quirks of clients', () => {
  it('are those of livekit-client before 2.15, to which a track without a stream is fatal', () => {
    assert.equal(client('js', '1.15.13').sdk, ClientInfo_SDK.JS);
    const misses = ['1.15.13', '2.0.10', '2.5.10', '2.14.0', '2.15.16', '2.23.0', '3.0.0'].filter((version) =>
      missesStreamlessTracks(client('js', version)),
    );
    assert.deepEqual(misses, ['1.15.13', '2.0.10', '2.5.10', '2.14.0']);
    assert.equal(missesStreamlessTracks(client('node', '0.13.12')), false);
  });

  it('are those of the Rust core, Safari and clients before protocol 4, which miss tracks that come back in a section', () => {
    assert.equal(missesReturningTracks(client('node', '1.1.0')), true);
    assert.equal(missesReturningTracks(client('js', '2.23.0', { browser: 'Safari' })), true);
    assert.equal(missesReturningTracks(client('js', '2.23.0', { browser: 'Chrome', os: 'iOS' })), true);
    assert.equal(missesReturningTracks(client('js', '0.9.0', { protocol: '3' })), true);
    assert.equal(missesReturningTracks(client('js', '0.10.0', { protocol: '4' })), false);
    assert.equal(missesReturningTracks(client('js', '2.23.0', { browser: 'Chrome' })), false);
    // LiveKit's own SDK for iOS brings its own libwebrtc.
    assert.equal(missesReturningTracks(client('swift', '2.0.0', { os: 'iOS' })), false);
  });
});
