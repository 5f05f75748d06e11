import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkRole } from './check-role.ts';
import { configSchema } from './options.ts';

describe('the options of a role', () => {
  it('need neither Redis nor a secret on a node that is alone', () => {
    checkRole(configSchema.parse({}), 'all');
  });

  it('say all that a node of a cluster lacks', () => {
    assert.throws(() => checkRole(configSchema.parse({}), 'media'), {
      reason: 'bad-config',
      message: /role media needs `cluster\.secret`.*\n.*role media needs `redis\.address`/,
    });
    const cluster = { secret_file: '/etc/secret' };
    checkRole(configSchema.parse({ cluster, redis: { address: 'redis:6379' } }), 'master');
    const sentinel = { sentinel_master_name: 'plenum', sentinel_addresses: ['one:26379'] };
    checkRole(configSchema.parse({ cluster, redis: sentinel }), 'media');
  });
});
