import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ClientInfo_SDK, JoinRequest, WrappedJoinRequest } from '@livekit/protocol';
import fc from 'fast-check';
import { type JoinSource, parseJoin } from './join-parameters.ts';
import type { JoinParameters, VideoGrants } from './session-messages.ts';
import type { AccessClaims } from './token.ts';

const grants: VideoGrants = {
  roomCreate: false,
  roomList: false,
  roomRecord: false,
  roomAdmin: false,
  roomJoin: true,
  room: 'hall',
  destinationRoom: '',
  canPublish: true,
  canSubscribe: true,
  canPublishData: true,
  canPublishSources: [],
  canUpdateOwnMetadata: false,
  canSubscribeMetrics: false,
  canManageAgentSession: false,
  hidden: false,
  recorder: false,
  agent: false,
};

const limits = {
  max_metadata_size: 20,
  max_attributes_size: 20,
  max_room_name_length: 10,
  max_participant_identity_length: 10,
  max_participant_name_length: 10,
};

function claims(changes: Partial<AccessClaims> = {}): AccessClaims {
  return {
    apiKey: 'devkey',
    identity: 'alice',
    name: 'Alice',
    metadata: '',
    attributes: {},
    kind: 0,
    kindDetails: [],
    grants,
    roomConfiguration: undefined,
    roomPreset: '',
    sha256: '',
    expiresAtS: 99,
    ...changes,
  };
}

function check(query: string, source: Partial<JoinSource> = {}) {
  return parseJoin({
    claims: claims(),
    query: new URLSearchParams(query),
    userAgent: '',
    address: '192.0.2.1',
    route: 'rtc',
    inflate: (packed) => packed,
    limits,
    ...source,
  });
}

function joinOf(query: string, source: Partial<JoinSource> = {}): JoinParameters {
  const result = check(query, source);
  assert.ok(result.ok, result.ok ? '' : result.refusal.body);
  return result.join;
}

function refusalOf(query: string, source: Partial<JoinSource> = {}): string {
  const result = check(query, source);
  assert.ok(!result.ok);
  return `${result.refusal.status} ${result.refusal.body}`;
}

function attributes(value: unknown): string {
  return `attributes=${Buffer.from(JSON.stringify(value)).toString('base64url')}`;
}

describe('parseJoin', () => {
  it('reads what livekit-client sends', () => {
    const userAgent =
      'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.7339.80 Safari/537.36';
    const join = joinOf('auto_subscribe=1&sdk=js&version=2.23.0&protocol=17&client_protocol=2&adaptive_stream=1', {
      userAgent,
    });
    assert.equal(join.roomName, 'hall');
    assert.equal(join.identity, 'alice');
    assert.equal(join.autoSubscribe, true);
    assert.equal(join.adaptiveStream, true);
    assert.equal(join.apiKey, 'devkey');
    assert.equal(join.tokenExpiresAtS, 99);
    assert.equal('resume' in join, false);
    assert.deepEqual(join.client, {
      sdk: 1,
      version: '2.23.0',
      protocol: 17,
      clientProtocol: 2,
      os: 'Linux',
      osVersion: '',
      deviceModel: '',
      browser: 'Chrome',
      browserVersion: '140.0.7339.80',
      network: '',
      address: '192.0.2.1',
      capabilities: [],
    });
  });

  it('reads what rtc-node sends and leaves its User-Agent alone', () => {
    const query =
      'sdk=node&os=linux&os_version=12&device_model=x&protocol=17&auto_subscribe=1&adaptive_stream=0&capabilities=CAP_PACKET_TRAILER,CAP_COMPRESSION_DEFLATE_RAW,CAP_NONSENSE,1,toString';
    const join = joinOf(query, { userAgent: 'Mozilla/5.0 Firefox/140.0' });
    assert.equal(join.client.sdk, 12);
    assert.equal(join.client.os, 'linux');
    assert.equal(join.client.browser, '');
    assert.equal(join.adaptiveStream, false);
    assert.deepEqual(join.client.capabilities, [1, 2]);
  });

  it('subscribes by default and not when the client says so', () => {
    assert.equal(joinOf('').autoSubscribe, true);
    assert.equal(joinOf('auto_subscribe=true').autoSubscribe, true);
    assert.equal(joinOf('auto_subscribe=0').autoSubscribe, false);
    assert.equal(joinOf('auto_subscribe=false').autoSubscribe, false);
  });

  it('reads a resume', () => {
    assert.deepEqual(joinOf('reconnect=1&sid=PA_x&reconnect_reason=2').resume, { participantSid: 'PA_x', reason: 2 });
    assert.deepEqual(joinOf('reconnect=1&reconnect_reason=-7').resume, { participantSid: '', reason: 0 });
    assert.equal('resume' in joinOf('sid=PA_x'), false);
  });

  it('takes all that a join request says in place of the query', () => {
    const requested = (request: ConstructorParameters<typeof JoinRequest>[0]): string => {
      const joinRequest = new JoinRequest({ clientInfo: { sdk: ClientInfo_SDK.NODE }, ...request }).toBinary();
      return `join_request=${Buffer.from(new WrappedJoinRequest({ joinRequest }).toBinary()).toString('base64url')}`;
    };
    const plain = joinOf(`auto_subscribe=1&${requested({})}`);
    assert.deepEqual([plain.singlePeerConnection, plain.autoSubscribe, plain.earlyMessages], [true, false, []]);
    const described = { metadata: 'm', participantAttributes: { a: '1', b: '' } };
    const mayDescribe = claims({ attributes: { b: '2' }, grants: { ...grants, canUpdateOwnMetadata: true } });
    const join = joinOf(requested({ ...described, connectionSettings: { autoSubscribe: true } }), {
      claims: mayDescribe,
    });
    assert.deepEqual([join.metadata, join.attributes, join.autoSubscribe], ['m', { a: '1', b: '2' }, true]);
    const mayNot = claims({ grants: { ...grants, canUpdateOwnMetadata: false } });
    assert.equal(refusalOf(requested(described), { claims: mayNot }), '401 permissions denied');
    const resume = joinOf(requested({ reconnect: true, participantSid: 'PA_1', reconnectReason: 2 }));
    assert.deepEqual(resume.resume, { participantSid: 'PA_1', reason: 2 });
    const other = requested({ clientInfo: { sdk: ClientInfo_SDK.GO } });
    assert.equal(refusalOf(other, {}), '404 not found', 'a client that was never tried on one connection');
  });

  it('refuses in the order of the contract', () => {
    const long = 'x'.repeat(11);
    assert.equal(refusalOf('join_request=a', { claims: undefined }), '401 permissions denied');
    assert.equal(refusalOf('join_request=a', { claims: claims({ grants: undefined }) }), '401 permissions denied');
    const noJoin = claims({ grants: { ...grants, roomJoin: false, room: '' }, identity: '' });
    assert.equal(refusalOf('join_request=*', { claims: noJoin }), '400 join_request is malformed');
    assert.equal(refusalOf('', { claims: noJoin, needsRequest: true }), '400 join_request is required');
    assert.equal(refusalOf('', { claims: noJoin }), '401 permissions denied');
    const noRoom = { ...grants, room: '' };
    assert.equal(refusalOf('', { claims: claims({ identity: '', grants: noRoom }) }), '400 identity cannot be empty');
    assert.match(
      refusalOf('', { claims: claims({ identity: long, grants: noRoom }) }),
      /^400 participant identity length exceeds/,
    );
    assert.equal(refusalOf('', { claims: claims({ grants: noRoom }) }), '400 no room name');
    assert.match(
      refusalOf('', { claims: claims({ grants: { ...grants, room: long } }) }),
      /^400 room name length exceeds/,
    );
    assert.match(refusalOf('', { claims: claims({ name: long }) }), /^400 participant name length exceeds/);
    const mute = claims({ grants: { ...grants, canPublish: false }, metadata: 'x'.repeat(21) });
    assert.equal(refusalOf('publish=cam', { claims: mute }), '401 permissions denied');
    assert.match(refusalOf('', { claims: mute }), /^400 metadata size exceeds/);
    assert.match(
      refusalOf('', { claims: claims({ attributes: { k: 'x'.repeat(20) } }) }),
      /^400 attribute size exceeds/,
    );
  });

  it('turns the legacy publish parameter into a second, publish-only identity', () => {
    const join = joinOf('publish=cam&auto_subscribe=1');
    assert.equal(join.identity, 'alice#cam');
    assert.equal(join.autoSubscribe, false);
    assert.equal(join.grants.canSubscribe, false);
    assert.match(refusalOf('publish=camera'), /^400 participant identity length/);
  });

  it('takes attributes of the query only from clients that may update their own', () => {
    const allowed = claims({ attributes: { a: 'old', b: '2' }, grants: { ...grants, canUpdateOwnMetadata: true } });
    const join = joinOf(attributes({ a: 'new', b: '', c: '3' }), { claims: allowed });
    assert.deepEqual(join.attributes, { a: 'new', b: '2', c: '3' });
    assert.equal(refusalOf(attributes({ a: '1' })), '401 permissions denied');
    assert.match(refusalOf(attributes({ long: 'x'.repeat(20) }), { claims: allowed }), /^400 attribute size exceeds/);
    assert.deepEqual(joinOf(attributes({})).attributes, {});
  });

  it('ignores malformed attributes on /rtc and explains them on /rtc/validate', () => {
    for (const query of ['attributes=%%%', attributes([]), attributes({ a: 1 }), attributes(null), 'attributes=e30x']) {
      assert.deepEqual(joinOf(query).attributes, {});
      assert.equal(refusalOf(query, { route: 'validate' }), '400 attributes is not base64url of a JSON map of strings');
    }
  });

  it('counts bytes, not characters, and takes a limit of 0 as none', () => {
    const metadata = 'ä'.repeat(11);
    assert.match(refusalOf('', { claims: claims({ metadata }) }), /^400 metadata/);
    joinOf('', {
      claims: claims({ metadata, attributes: { k: metadata } }),
      limits: { ...limits, max_metadata_size: 0, max_attributes_size: 0 },
    });
  });

  it('keeps what a client says about itself short', () => {
    const join = joinOf(`version=${'9'.repeat(5000)}&protocol=99999999999&os=${'o'.repeat(5000)}`);
    assert.equal(join.client.version.length, 256);
    assert.equal(join.client.os.length, 256);
    assert.equal(join.client.protocol, 0);
  });

  it('never throws, whatever the query and the User-Agent are', () => {
    const names = [
      'sdk',
      'protocol',
      'attributes',
      'capabilities',
      'reconnect',
      'sid',
      'reconnect_reason',
      'publish',
      'auto_subscribe',
      'join_request',
    ];
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...names), fc.string())), fc.string(), (pairs, userAgent) => {
        const result = parseJoin({
          claims: claims(),
          query: new URLSearchParams(pairs),
          userAgent,
          address: '',
          route: 'rtc',
          inflate: (packed) => packed,
          limits,
        });
        assert.ok(result.ok || [400, 401, 404].includes(result.refusal.status));
        structuredClone(result);
      }),
    );
  });
});
