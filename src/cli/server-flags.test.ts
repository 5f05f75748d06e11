import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Command } from 'commander';
import { loadConfig, parseYaml } from '../config/load.ts';
import { optionsOf, withServerFlags, type ServerFlags } from './server-flags.ts';

function configOf(args: string[]): ReturnType<typeof loadConfig> {
  const command = withServerFlags(new Command('start')).exitOverride();
  command.parse(args, { from: 'user' });
  return loadConfig({ overrides: optionsOf(command.opts<ServerFlags>(), parseYaml) });
}

describe('flags of a server', () => {
  it('are those of livekit-server', () => {
    const config = configOf([
      ...['--bind', '127.0.0.1', '--bind', '10.0.0.1', '--keys', 'a: b', '--region', 'eu', '--node-ip', '192.0.2.1'],
      ...['--udp-port', '7882', '--redis-host', 'redis:6379', '--redis-password', 'p', '--turn-cert', '/cert'],
    ]);
    assert.deepEqual(config.bind_addresses, ['127.0.0.1', '10.0.0.1']);
    assert.deepEqual([config.keys, config.region, config.rtc.node_ip], [{ a: 'b' }, 'eu', ['192.0.2.1']]);
    assert.deepEqual([config.rtc.port_range_start, config.rtc.port_range_end], [7882, 7882]);
    assert.deepEqual([config.redis.address, config.redis.password], ['redis:6379', 'p']);
  });

  it('name any option of the file that is one value', () => {
    const config = configOf([
      ...['--keys', 'a: b', '--rtc.port_range_start', '51000', '--room.auto_create', 'false'],
      ...[
        '--room.enable_remote_unmute',
        '--webhook.api_key',
        '0123',
        '--prometheus_port',
        '9090',
        '--log_level',
        'warn',
      ],
    ]);
    assert.deepEqual([config.rtc.port_range_start, config.prometheus_port], [51_000, 9090]);
    assert.deepEqual([config.room.auto_create, config.room.enable_remote_unmute], [false, true]);
    assert.deepEqual([config.webhook.api_key, config.logging.level], ['0123', 'warn']);
  });
});
