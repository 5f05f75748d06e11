import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig } from '../config/load.ts';
import { createLog } from '../observe/log.ts';
import { redisOptions } from './redis-config.ts';

const log = createLog({ level: 'silent', json: true });

function optionsOf(redis: Record<string, unknown>, cluster: Record<string, unknown> = {}) {
  const env = { PLENUM_REDIS_PASSWORD: 'from env' };
  const config = loadConfig({ env, overrides: { keys: { devkey: 'secret' }, redis, cluster } });
  return redisOptions(config, { clientName: 'ND_a', log });
}

describe('redisOptions', () => {
  it('has none for a node that is alone', () => {
    assert.equal(optionsOf({}), undefined);
  });

  it('reaches a single Redis, whose grants need no replica', () => {
    const options = optionsOf(
      { address: '[::1]:7000', db: 2 },
      { name: 'east', heartbeat_interval: 0.1, heartbeat_misses: 5 },
    );
    assert.deepEqual(options?.address, { host: '::1', port: 7000 });
    assert.equal(options.sentinel, undefined);
    assert.equal(options.minReplicas, 0);
    assert.equal(options.password, 'from env');
    assert.equal(options.keyPrefix, 'east');
    assert.equal(options.timings.heartbeatMs, 100);
    assert.equal(options.timings.leaseMs, 500);
  });

  it('reaches Redis behind Sentinel', () => {
    const options = optionsOf({ sentinel_master_name: 'm', sentinel_addresses: ['a', 'b:1'], sentinel_password: 'p' });
    assert.deepEqual(options?.sentinel, {
      masterName: 'm',
      addresses: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 1 },
      ],
      username: '',
      password: 'p',
    });
    assert.equal(options.minReplicas, 1);
  });

  it('takes TLS from the scheme or the switch, and secrets and certificates from files', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'plenum-config-'));
    try {
      const [secretFile, caFile] = [path.join(folder, 'secret'), path.join(folder, 'ca.pem')];
      await Promise.all([writeFile(secretFile, 'of the Sentinels\n'), writeFile(caFile, 'an authority')]);
      const tls = { ca_cert_file: caFile, server_name: 'redis.internal' };
      const options = optionsOf({ address: 'rediss://host:7001', tls });
      assert.deepEqual(options?.address, { host: 'host', port: 7001 });
      assert.equal(options.tls?.ca, 'an authority');
      assert.equal(options.tls.serverName, 'redis.internal');
      assert.equal(optionsOf({ address: 'redis://host' })?.tls, undefined);
      const behind = { sentinel_master_name: 'm', sentinel_addresses: ['a'], sentinel_password_file: secretFile };
      const sentinel = optionsOf({ ...behind, use_tls: true });
      assert.equal(sentinel?.sentinel?.password, 'of the Sentinels');
      assert.ok(sentinel.tls !== undefined);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('names what is wrong', () => {
    assert.throws(() => optionsOf({ address: 'http://host' }), /redis\.address/);
    assert.throws(() => optionsOf({ address: 'rediss://user:secret@host' }), /redis\.address/);
    assert.throws(() => optionsOf({ address: 'a', use_tls: true, tls: { ca_cert_file: '/none' } }), /ca_cert_file/);
    assert.throws(
      () => optionsOf({ address: 'a', use_tls: true, tls: { client_key_file: '/none' } }),
      /belong together/,
    );
    assert.throws(() => optionsOf({ sentinel_master_name: 'm' }), /belong together/);
  });
});
