import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { DataPacket_Kind, ParticipantInfo, TrackInfo, TrackSource } from '@livekit/protocol';
import { startApiTestServer, type ApiTestServer } from '../api/api-test-server.ts';
import { roomCommand } from './room.ts';

class Text {
  text = '';

  write(text: string): void {
    this.text += text;
  }
}

describe('plenum room', () => {
  let server: ApiTestServer;

  beforeEach(async () => {
    server = await startApiTestServer();
  });

  afterEach(() => server.close());

  /** Runs a command as the shell would, with the server from the environment. */
  async function run(...args: string[]): Promise<string> {
    const out = new Text();
    await roomCommand({ LIVEKIT_URL: server.url }, out, new Text()).parseAsync(args, { from: 'user' });
    return out.text;
  }

  async function runJson(...args: string[]): Promise<unknown> {
    return JSON.parse(await run(...args, '--json'));
  }

  function addAna(): ParticipantInfo {
    const ana = new ParticipantInfo({
      sid: 'PA_ana',
      identity: 'ana',
      name: 'Ana\u001b[2J',
      state: 2,
      joinedAt: 1_700_000_000n,
      tracks: [
        new TrackInfo({ sid: 'TR_AM', source: TrackSource.MICROPHONE }),
        new TrackInfo({ sid: 'TR_SS', source: TrackSource.SCREEN_SHARE, muted: true }),
      ],
    });
    server.node.addParticipant('demo', ana);
    return ana;
  }

  it('creates, lists and deletes rooms', async () => {
    assert.equal(await run('list'), 'No rooms.\n');
    await run('create', 'demo', '--max-participants', '10', '--empty-timeout', '60', '--metadata', 'm');
    const room = server.node.rooms.get('demo')?.room;
    assert.deepEqual([room?.maxParticipants, room?.emptyTimeout, room?.metadata], [10, 60, 'm']);
    assert.equal(
      await run('list'),
      'ROOM  SID      PARTICIPANTS  PUBLISHERS  CREATED  METADATA\ndemo  RM_demo  0 of 10       0                    m\n',
    );
    assert.equal(await run('list', 'other'), 'No rooms.\n');
    assert.equal(await run('delete', 'demo'), 'Room demo is deleted.\n');
    assert.equal(server.node.rooms.size, 0);
  });

  it('prints JSON as the API answers', async () => {
    await run('create', 'demo');
    const [room] = (await runJson('list')) as Record<string, unknown>[];
    assert.deepEqual([room?.['sid'], room?.['num_participants']], ['RM_demo', 0]);
    assert.deepEqual(await runJson('delete', 'demo'), {});
    assert.deepEqual(await runJson('list'), []);
  });

  it('lists participants, and does not let their names steer the terminal', async () => {
    addAna();
    const [, row] = (await run('participants', 'demo')).split('\n');
    assert.equal(
      row,
      'ana       Ana\\u001b[2J  PA_ana  active  2023-11-14T22:13:20Z  microphone TR_AM, screen share TR_SS (muted)',
    );
    assert.equal(await run('participants', 'nowhere'), 'Nobody is there.\n');
    assert.equal(((await runJson('participant', 'demo', 'ana')) as { sid: string }).sid, 'PA_ana');
  });

  it('mutes one track or all of a participant', async () => {
    const ana = addAna();
    assert.equal(await run('mute', 'demo', 'ana', 'TR_AM'), 'Muted: TR_AM\n');
    assert.equal(ana.tracks[0]?.muted, true);
    assert.equal(await run('mute', 'demo', 'ana'), 'Muted: TR_AM, TR_SS\n');
    await assert.rejects(run('mute', 'demo', 'ana', '--unmute'), {
      reason: 'server-refused',
      message: /remote unmute is disabled/,
    });
    ana.tracks = [];
    await assert.rejects(run('mute', 'demo', 'ana'), { reason: 'no-track' });
  });

  it('updates rooms and participants', async () => {
    const ana = addAna();
    await run('update-metadata', 'demo', 'new');
    assert.equal(server.node.rooms.get('demo')?.room.metadata, 'new');
    await run(
      'update-participant',
      'demo',
      'ana',
      '--name',
      'A',
      '--attribute',
      'a=1',
      '--attribute',
      'b=x=y',
      '--permission',
      'subscribe',
      'publish-data',
    );
    assert.deepEqual([ana.name, ana.attributes], ['A', { a: '1', b: 'x=y' }]);
    const { canSubscribe, canPublishData, canPublish } = ana.permission ?? {};
    assert.deepEqual([canSubscribe, canPublishData, canPublish], [true, true, false]);
    await run('subscribe', 'demo', 'ana', 'TR_1', 'TR_2', '--unsubscribe');
    assert.deepEqual(
      [server.node.subscriptions[0]?.trackSids, server.node.subscriptions[0]?.subscribe],
      [['TR_1', 'TR_2'], false],
    );
    await run('remove', 'demo', 'ana');
    assert.equal(server.node.rooms.get('demo')?.participants.size, 0);
  });

  it('sends data to everybody or to some', async () => {
    addAna();
    assert.equal(await run('send-data', 'demo', 'hello'), 'Sent to everybody in demo.\n');
    assert.equal(await run('send-data', 'demo', 'psst', '--to', 'ana', '--topic', 't', '--lossy'), 'Sent to ana.\n');
    const data = server.node.rooms.get('demo')?.data ?? [];
    assert.deepEqual(
      data.map((sent) => [new TextDecoder().decode(sent.data), sent.kind, sent.topic, sent.destinationIdentities]),
      [
        ['hello', DataPacket_Kind.RELIABLE, undefined, []],
        ['psst', DataPacket_Kind.LOSSY, 't', ['ana']],
      ],
    );
  });

  it('says what the server refuses', async () => {
    await assert.rejects(run('delete', 'nowhere'), {
      reason: 'server-refused',
      message: 'the server says: requested room does not exist (not_found)',
    });
  });

  it('says that the key is wrong', async () => {
    await assert.rejects(run('list', '--api-key', 'nobody'), {
      reason: 'key-refused',
      message: /invalid API key.*LIVEKIT_API_KEY/,
    });
    await assert.rejects(run('list', '--api-secret', 'wrong'), { reason: 'key-refused' });
  });

  it('says that no server answers', async () => {
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    other.close();
    await once(other, 'close');
    const message = `no server answers at ws://127.0.0.1:${port} (connection refused). Start one with ./plenum dev, or name another with --url or LIVEKIT_URL.`;
    await assert.rejects(run('list', '--url', `ws://127.0.0.1:${port}`), { reason: 'server-unreachable', message });
    await assert.rejects(run('list', '--url', 'nonsense'), { reason: 'server-unreachable' });
  });

  it('says that something else answers', async () => {
    const other = createServer((_request, response) => response.writeHead(404).end('<h1>It works</h1>'));
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await assert.rejects(run('list', '--url', `http://127.0.0.1:${port}`), { reason: 'not-a-server' });
    other.closeAllConnections();
    other.close();
  });

  it('refuses wrong use', async () => {
    await assert.rejects(run('create'), { code: 'commander.missingArgument' });
    await assert.rejects(run('create', 'demo', '--max-participants', 'many'), { code: 'commander.invalidArgument' });
    await assert.rejects(run('update-participant', 'demo', 'ana', '--permission', 'fly'), {
      code: 'commander.invalidArgument',
    });
    await assert.rejects(run('explode'), { code: 'commander.unknownCommand' });
  });

  it('every command has a help text with an example, and none shows a secret', async () => {
    const env = { LIVEKIT_API_SECRET: 'very-secret-value' };
    for (const { name } of roomCommand(env, new Text()).commands.map((command) => ({ name: command.name() }))) {
      const out = new Text();
      const help = roomCommand(env, out, new Text()).parseAsync([name, '--help'], { from: 'user' });
      await assert.rejects(help, { code: 'commander.helpDisplayed' });
      assert.match(out.text, new RegExp(`Example:\\n {2}\\./plenum room ${name}`));
      assert.doesNotMatch(out.text, /very-secret-value/);
    }
  });
});
