import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { loadConfig, loadWithNotes } from './load.ts';

const production = readFileSync(new URL('../../test/fixtures/livekit/production.yaml', import.meta.url), 'utf8');
const keys = { keys: { devkey: 'secret' } };

function problemsOf(load: () => unknown): string {
  try {
    load();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  assert.fail('expected a bad-config error');
}

describe('a configuration of livekit-server', () => {
  it('is taken as it is, and what does not apply is named', () => {
    const { config, notApplied } = loadWithNotes({ yaml: production });
    assert.deepEqual(config.bind_addresses, ['0.0.0.0']);
    assert.deepEqual([config.prometheus_port, config.prometheus.username], [6789, 'scraper']);
    assert.deepEqual([config.rtc.port_range_start, config.rtc.port_range_end], [50_000, 60_000]);
    assert.equal(config.rtc.use_external_ip, true);
    assert.equal(config.rtc.turn_servers[0]?.protocol, 'tls');
    assert.deepEqual(
      [config.redis.address, config.redis.db, config.redis.use_tls],
      ['redis.example.com:6379', 2, true],
    );
    assert.deepEqual(Object.keys(config.keys), ['key1', 'key2']);
    assert.equal(config.logging.level, 'warn');
    assert.deepEqual([config.room.auto_create, config.room.max_participants], [false, 40]);
    assert.equal(config.limit.max_metadata_size, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(
      config.room.enabled_codecs.map(({ mime }) => mime),
      ['audio/opus', 'video/vp8', 'video/h264'],
    );
    assert.equal(config.video.dynacast_pause_delay, 62.5);
    assert.equal(config.rtc.congestion_control.allow_pause, true);
    assert.deepEqual([config.turn.enabled, config.turn.udp_port], [true, 3478]);
    assert.deepEqual(
      [config.node_limit.tracks, config.node_limit.bitrate_bps, config.node_limit.cpu],
      [0, 8_000_000_000, 0.8],
    );
    assert.deepEqual(notApplied.toSorted(), [
      'ingress',
      'limit.subscription_limit_video',
      'logging.pion_level',
      'logging.sample',
      'node_selector',
      'room.enabled_codecs audio/red',
      'room.playout_delay',
      'rtc.congestion_control.enabled',
      'rtc.interfaces',
      'rtc.packet_buffer_size_video',
      'rtc.pli_throttle',
      'rtc.tcp_port',
      'rtc.use_ice_lite',
      'signal_relay',
      'turn.cert_file',
      'turn.key_file',
    ]);
  });

  it('may have sections and options without a value', () => {
    const yaml = 'room:\n  # empty_timeout: 1\nregion:\nrtc:\n  node_ip:\n  udp_port:\nsignal_relay:\n';
    const { config, notApplied } = loadWithNotes({ yaml, overrides: keys });
    assert.deepEqual([config.room.empty_timeout, config.region, config.rtc.node_ip, notApplied], [300, '', [], []]);
  });

  it('may be of OpenVidu, which adds a part of its own', () => {
    const yaml = 'openvidu:\n  rtc:\n    engine: mediasoup\n  analytics:\n    enabled: true\n';
    assert.deepEqual(loadWithNotes({ yaml, overrides: keys }).notApplied, ['openvidu']);
  });

  it('with an option that neither knows is refused, by its name', () => {
    const text = problemsOf(() => loadConfig({ yaml: `${production}\ntypo: 1\nsfu:\n  x: 1\n` }));
    assert.match(text, /unknown option `typo`, `sfu`/);
    assert.doesNotMatch(text, /signal_relay|tcp_port/);
  });

  it('has its single media port, its range in one text, and no TCP where it asks for none', () => {
    const portsOf = (rtc: string): unknown[] => {
      const { config, notApplied } = loadWithNotes({ yaml: `rtc:\n${rtc}`, overrides: keys });
      const { port_range_start: first, port_range_end: last, enable_tcp: tcp, enable_udp: udp } = config.rtc;
      return [first, last, tcp, udp, ...notApplied];
    };
    assert.deepEqual(portsOf('  udp_port: 7882\n'), [7882, 7882, true, true]);
    assert.deepEqual(portsOf('  udp_port: 7882-7892\n  tcp_port: 0\n'), [7882, 7892, false, true]);
    assert.deepEqual(portsOf('  force_tcp: true\n'), [50_000, 59_999, true, false]);
    // As in LiveKit, a range wins.
    assert.deepEqual(portsOf('  port_range_start: 40000\n  port_range_end: 40010\n  udp_port: 7882\n'), [
      40_000,
      40_010,
      true,
      true,
      'rtc.udp_port',
    ]);
  });

  it('has older names of its limits, which ours win over', () => {
    const yaml = 'room:\n  max_metadata_size: 10\n  max_room_name_length: 20\nlimit:\n  max_metadata_size: 30\n';
    const { limit } = loadConfig({ yaml, overrides: keys });
    assert.deepEqual([limit.max_metadata_size, limit.max_room_name_length], [30, 20]);
  });
});

describe('variables of livekit-server', () => {
  it('are read: keys, address, ports, Redis', () => {
    const env = {
      LIVEKIT_KEYS: 'k: s',
      NODE_IP: '192.0.2.1,2001:db8::1',
      UDP_PORT: '7882-7883',
      REDIS_HOST: 'redis:6379',
      REDIS_PASSWORD: 'p',
      LIVEKIT_REGION: 'eu',
      LIVEKIT_TURN_CERT: '/cert',
    };
    const { config, notApplied } = loadWithNotes({ env });
    assert.deepEqual(config.keys, { k: 's' });
    assert.deepEqual(config.rtc.node_ip, ['192.0.2.1', '2001:db8::1']);
    assert.deepEqual([config.rtc.port_range_start, config.rtc.port_range_end], [7882, 7883]);
    assert.deepEqual([config.redis.address, config.redis.password, config.region], ['redis:6379', 'p', 'eu']);
    assert.deepEqual(notApplied, ['turn.cert_file']);
  });

  it('name any option that is one value', () => {
    const env = {
      LIVEKIT_ROOM_AUTO_CREATE: 'false',
      LIVEKIT_RTC_PORT_RANGE_START: '51000',
      LIVEKIT_LOG_LEVEL: 'debug',
      LIVEKIT_WEBHOOK_API_KEY: '0123',
      LIVEKIT_RTC_TCP_PORT: '0',
      LIVEKIT_SIGNAL_RELAY_ENABLED: 'true',
      LIVEKIT_API_KEY: 'of a client',
      LIVEKIT_PORT: 'tcp://10.0.0.1:7880',
    };
    const { config, notApplied } = loadWithNotes({ env, overrides: keys });
    assert.deepEqual([config.room.auto_create, config.rtc.port_range_start, config.port], [false, 51_000, 7880]);
    assert.deepEqual([config.logging.level, config.webhook.api_key, config.rtc.enable_tcp], ['debug', '0123', false]);
    assert.deepEqual(notApplied, []);
    assert.equal(loadConfig({ env: { LIVEKIT_PORT: '7000' }, overrides: keys }).port, 7000);
  });

  it('with a value of the wrong type are named as options', () => {
    const env = { LIVEKIT_ROOM_AUTO_CREATE: 'perhaps', LIVEKIT_RTC_PORT_RANGE_END: 'x' };
    assert.match(
      problemsOf(() => loadConfig({ env, overrides: keys })),
      /`rtc\.port_range_end`[\s\S]*`room\.auto_create`/,
    );
  });
});

describe('secret_file of a TURN server', () => {
  it('holds its secret', () => {
    const readSecretFile = (path: string): string => (path === '/etc/turn' ? 'shared\n' : assert.fail(path));
    const yaml = 'rtc:\n  turn_servers:\n    - {host: turn.example.com, port: 443, secret_file: /etc/turn}\n';
    const { rtc } = loadConfig({ yaml, overrides: keys, readSecretFile });
    assert.equal(rtc.turn_servers[0]?.secret, 'shared');
  });
});

describe('key_file', () => {
  it('stands in place of all other keys', () => {
    const readSecretFile = (path: string): string => (path === '/etc/keys' ? 'a: b' : assert.fail(path));
    assert.deepEqual(loadConfig({ yaml: 'key_file: /etc/keys\nkeys:\n  x: y\n', readSecretFile }).keys, { a: 'b' });
    assert.deepEqual(loadConfig({ env: { LIVEKIT_KEY_FILE: '/etc/keys' }, readSecretFile }).keys, { a: 'b' });
  });
});
