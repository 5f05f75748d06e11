import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configSchema } from '../config/options.ts';
import type { ParticipantSid } from '../protocol/ids.ts';
import { turnServers, type TurnAccess } from './turn-access.ts';
import { toRange, turnConfig } from './turn-config.ts';
import { readTurnLine } from './turn-log.ts';
import { turnSecret, turnSettings } from './turn-settings.ts';

const files = { certificate: '/c', key: '/k', peers: '/p', pid: '/i' };
const place = { address: '10.0.0.4', publicAddress: '203.0.113.4', secrets: ['s3cret'], ownAddresses: ['203.0.113.4'] };

function settings(changes: Record<string, unknown> = {}) {
  return turnSettings(configSchema.parse({ turn: { enabled: true }, tls: { mode: 'selfsigned' }, ...changes }), place);
}

describe('the configuration of coturn', () => {
  it('allows the media of this node and the configured networks, and denies everything else', () => {
    const lines = turnConfig(settings({ turn: { enabled: true, allow_peer_cidrs: ['10.1.0.0/16'] } }), files).split(
      '\n',
    );
    assert.deepEqual(
      lines.filter((line) => /peer/.test(line) && !/multicast/.test(line)),
      [
        'denied-peer-ip=0.0.0.0-255.255.255.255',
        'denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
        'allowed-peer-ip=10.0.0.4',
        'allowed-peer-ip=203.0.113.4',
        'allowed-peer-ip=10.1.0.0-10.1.255.255',
      ],
    );
    for (const line of [
      'no-tcp-relay',
      'no-multicast-peers',
      'no-cli',
      'no-tcp',
      'no-tlsv1',
      'no-tlsv1_1',
      'use-auth-secret',
    ])
      assert.ok(lines.includes(line), line);
    assert.ok(lines.includes('external-ip=203.0.113.4/10.0.0.4'));
  });

  it('has no TLS while there is no certificate', () => {
    const text = turnConfig(settings(), { ...files, certificate: undefined });
    assert.match(text, /^no-tls$/m);
    assert.doesNotMatch(text, /tls-listening-port|pkey/);
  });

  it('takes plain TCP alone where TLS ends at a load balancer before it', () => {
    const turn = { enabled: true, external_tls: true, domain: 'turn.test' };
    const text = turnConfig(settings({ tls: { mode: 'off' }, turn }), { ...files, certificate: undefined });
    assert.match(text, /^aux-server=10\.0\.0\.4:5349$/m);
    assert.match(text, /^no-tls$/m);
    assert.doesNotMatch(text, /^no-tcp$/m);
    const passed = turnConfig(settings({ turn }), files);
    assert.match(passed, /^tls-listening-port=5349$/m);
    assert.match(passed, /^no-tcp$/m);
  });

  it('relays from an IPv4 address alone', () => {
    assert.throws(() => settings({ turn: { enabled: true, address: '2001:db8::1' } }), /must be an IPv4 address/);
    assert.throws(() => settings({ turn: { enabled: true, allow_peer_cidrs: ['2001:db8::/32'] } }), /must be IPv4/);
  });

  it('refuses a value that would begin a line of its own', () => {
    assert.throws(() => turnConfig({ ...settings(), realm: 'x\nallowed-peer-ip=0.0.0.0' }, files), /realm/);
  });

  it('writes networks as ranges', () => {
    assert.equal(toRange('10.0.0.4'), '10.0.0.4');
    assert.equal(toRange('10.0.3.7/22'), '10.0.0.0-10.0.3.255');
    assert.equal(toRange('0.0.0.0/0'), '0.0.0.0-255.255.255.255');
    for (const bad of ['::1', 'a', '10.0.0.0/33', '10.0.0']) assert.throws(() => toRange(bad), bad);
  });
});

describe('what a participant gets to reach a TURN server', () => {
  const access: TurnAccess = {
    udp: '203.0.113.4:443',
    tls: 'turn.example:443',
    secret: 's',
    ttlS: 300,
    forceRelay: false,
  };
  const sid = 'PA_1' as ParticipantSid;

  it('is UDP first, then TLS, with credentials of its own that end', () => {
    const [server] = turnServers(access, sid, 1_000_000);
    assert.deepEqual(server?.urls, ['turn:203.0.113.4:443?transport=udp', 'turns:turn.example:443?transport=tcp']);
    assert.equal(server.username, '1300:PA_1');
    assert.notEqual(server.credential, turnServers(access, 'PA_2' as ParticipantSid, 1_000_000)[0]?.credential);
  });

  it('is TLS alone when everything has to be relayed, and nothing when there is nothing', () => {
    assert.deepEqual(turnServers({ ...access, forceRelay: true }, sid, 0)[0]?.urls, [
      'turns:turn.example:443?transport=tcp',
    ]);
    assert.deepEqual(turnServers({ ...access, forceRelay: true, tls: '' }, sid, 0)[0]?.urls, [
      'turn:203.0.113.4:443?transport=udp',
    ]);
    assert.deepEqual(turnServers({ ...access, udp: '', tls: '' }, sid, 0), []);
  });

  it('is signed with a secret that does not tell the one of the cluster', () => {
    assert.match(turnSecret('plenum', 'the secret of the cluster'), /^[0-9a-f]{64}$/);
    assert.notEqual(
      turnSecret('plenum', 'the secret of the cluster'),
      turnSecret('other', 'the secret of the cluster'),
    );
  });
});

describe('what coturn says', () => {
  it('is counted', () => {
    const session = '70: : session 000000000000000001: realm <plenum> user <1:PA_x>: incoming packet';
    assert.deepEqual(readTurnLine(`${session} ALLOCATE processed, success`), { kind: 'allocated' });
    assert.deepEqual(readTurnLine(`${session} ALLOCATE processed, error 486: Allocation Quota Reached`), {
      kind: 'refused',
      request: 'allocate',
      code: 486,
    });
    assert.deepEqual(readTurnLine(`${session} CREATE_PERMISSION processed, error 403: Forbidden IP`), {
      kind: 'refused',
      request: 'peer',
      code: 403,
    });
    assert.equal(readTurnLine(`${session} message processed, error 401: Unauthorized`), undefined);
    assert.deepEqual(
      readTurnLine('2: : session 001: usage: realm=<plenum>, username=<1:PA_x>, rp=3, rb=240, sp=3, sb=216'),
      { kind: 'usage', receivedBytes: 240, sentBytes: 216 },
    );
    assert.equal(
      readTurnLine('2: : session 001: peer usage: realm=<plenum>, username=<1:PA_x>, rp=9, rb=9, sp=9, sb=9'),
      undefined,
    );
    assert.deepEqual(readTurnLine('2: : session 001: delete: realm=<plenum>, username=<1:PA_x>'), { kind: 'ended' });
    assert.equal(readTurnLine('0: : IO method (auth thread): epoll (with changelist)'), undefined);
  });
});
