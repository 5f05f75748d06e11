import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import { configSchema } from '../config/options.ts';
import type { NodeId, ParticipantSid } from '../protocol/ids.ts';
import { toRoomSettings } from './room-settings.ts';

const participant = 'PA_x' as ParticipantSid;

function settingsOf(config: object) {
  return toRoomSettings({ config: configSchema.parse(config), nodeId: 'ND_x' as NodeId, now: () => 1_700_000_000_500 });
}

describe('ICE servers', () => {
  it('are none unless configured', () => {
    assert.deepEqual(settingsOf({}).iceServersOf(participant), []);
  });

  it('are STUN servers without and TURN servers with static credentials', () => {
    const turn = { host: 'turn.example', port: 3478, username: 'u', credential: 'c' };
    const settings = settingsOf({
      rtc: { stun_servers: ['stun.example:3478'], turn_servers: [turn, { ...turn, port: 5349, protocol: 'tls' }] },
    });
    assert.deepEqual(settings.iceServersOf(participant), [
      { urls: ['stun:stun.example:3478'], username: '', credential: '' },
      { urls: ['turn:turn.example:3478?transport=udp'], username: 'u', credential: 'c' },
      { urls: ['turns:turn.example:5349?transport=tcp'], username: 'u', credential: 'c' },
    ]);
  });

  it('get credentials that end when the TURN server has a shared secret', () => {
    const turn = { host: 'turn.example', port: 3478, protocol: 'tcp', secret: 'shared', ttl: 600 };
    const [server] = settingsOf({ rtc: { turn_servers: [turn] } }).iceServersOf(participant);
    assert.equal(server?.username, '1700000600:PA_x');
    assert.equal(server.credential, createHmac('sha1', 'shared').update('1700000600:PA_x').digest('base64'));
    assert.deepEqual(server.urls, ['turn:turn.example:3478?transport=tcp']);
  });
});

describe('room settings', () => {
  it('are the configuration in the units that rooms use', () => {
    const settings = settingsOf({
      room: { departure_timeout: 7 },
      rtc: { resume_timeout: 3 },
      video: { dynacast_pause_delay: 2 },
    });
    assert.deepEqual(
      [settings.departureTimeoutS, settings.resumeTimeoutMs, settings.dynacastPauseDelayMs],
      [7, 3_000, 2_000],
    );
    assert.deepEqual(settings.enabledCodecs[1], { mime: 'video/VP8', fmtpLine: '' });
  });
});
