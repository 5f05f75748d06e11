import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort } from '../../test/kit/free-ports.ts';
import { RedisProcess } from '../../test/kit/redis.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { RedisStoreOptions } from './redis-store.ts';
import { RedisTestStores } from './redis-test-kit.ts';

const alpha = 'ND_alpha' as NodeId;
/** As docs/operations.md tells operators to make it. */
const rights = '-@all +@read +@write +@scripting +@connection +@pubsub +info +role +time +wait';
const [username, password] = ['plenum', 'for-plenum'];
const readySoonMs = 10_000;

/** An authority, and a certificate of it for a host name that no address resolves to. */
function makeCertificates(folder: string): { ca: string; lines: string[] } {
  const file = (name: string): string => path.join(folder, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  openssl('req', '-x509', ...newKey, '-subj', '/CN=authority', '-keyout', 'ca.key', '-out', 'ca.pem');
  openssl('req', ...newKey.slice(0, -2), '-subj', '/CN=redis', '-keyout', 'redis.key', '-out', 'redis.csr');
  writeFileSync(file('san'), 'subjectAltName=DNS:redis.internal\n');
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san'];
  openssl('x509', '-req', '-in', 'redis.csr', ...signed, '-out', 'redis.pem');
  return {
    ca: readFileSync(file('ca.pem'), 'utf8'),
    lines: [
      `tls-cert-file ${file('redis.pem')}`,
      `tls-key-file ${file('redis.key')}`,
      `tls-ca-cert-file ${file('ca.pem')}`,
      'tls-auth-clients no',
    ],
  };
}

describe('Redis over TLS, with users', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'plenum-tls-'));
  const { ca, lines } = makeCertificates(folder);
  const tls = { ca, serverName: 'redis.internal' };
  let stores: RedisTestStores;
  let redis: RedisProcess;
  let tlsPort: number;

  before(async () => {
    tlsPort = await freePort();
    stores = new RedisTestStores({ port: tlsPort, tls, username, password });
    redis = await RedisProcess.create([
      ...lines,
      `tls-port ${tlsPort}`,
      // Whoever has no name may only ask whether it is there.
      'user default on nopass ~* &* -@all +ping',
      `user ${username} on >${password} ~${stores.keyPrefix}:* &${stores.keyPrefix}:* ${rights}`,
      'user sentinel on >for-sentinel ~* &* +@all',
    ]);
    await redis.start();
  });

  after(async () => {
    await stores.close();
    await redis.close();
    rmSync(folder, { recursive: true });
  });

  it('keeps rooms, and needs no more rights than the documents say', async () => {
    const store = await stores.connect();
    const heard = Promise.withResolvers<void>();
    await store.bus.subscribe('news', () => heard.resolve());
    await store.bus.publish('news', new Uint8Array([1]));
    await heard.promise;
    const claim = await store.rooms.claim('lobby', alpha);
    assert.ok(claim.kind === 'owned' && claim.created);
    assert.equal((await store.rooms.renew(alpha, [{ roomName: 'lobby', epoch: claim.epoch }])).lost.length, 0);
    assert.equal(await store.rooms.save('lobby', claim.epoch, new Map([['a', new Uint8Array([1])]])), 'written');
    assert.equal((await store.rooms.load('lobby'))?.parts.size, 1);
    assert.equal((await store.leases.acquire('leader', 'a')).kind, 'held');
    assert.equal(await store.rooms.release('lobby', claim.epoch), true);
    assert.deepEqual(await store.nodes.list(), []);
  });

  const refused: [why: string, options: Partial<RedisStoreOptions>][] = [
    ['an authority that it does not know', { tls: { serverName: 'redis.internal' } }],
    ['a certificate of another host', { tls: { ca } }],
    ['a wrong password', { password: 'wrong' }],
    ['no user', { username: '', password: '' }],
  ];
  for (const [why, options] of refused) {
    it(`does not work with ${why}`, async () => {
      await assert.rejects(stores.open(options).ready(700));
    });
  }

  it('finds Redis through a Sentinel that has TLS and a password of its own', async () => {
    const port = await freePort();
    const sentinel = await RedisProcess.create(
      [
        ...lines,
        `tls-port ${port}`,
        'tls-replication yes',
        'requirepass for-clients',
        `sentinel monitor plenum 127.0.0.1 ${tlsPort} 1`,
        'sentinel auth-user plenum sentinel',
        'sentinel auth-pass plenum for-sentinel',
      ],
      { isSentinel: true, password: 'for-clients' },
    );
    try {
      await sentinel.start();
      const behind = (sentinelPassword: string): Partial<RedisStoreOptions> => ({
        sentinel: {
          masterName: 'plenum',
          addresses: [{ host: '127.0.0.1', port }],
          username: '',
          password: sentinelPassword,
        },
      });
      const store = stores.open(behind('for-clients'));
      await store.ready(readySoonMs);
      assert.equal((await store.rooms.claim('found', alpha)).kind, 'owned');
      await assert.rejects(stores.open(behind('wrong')).ready(700));
    } finally {
      await sentinel.close();
    }
  });
});
