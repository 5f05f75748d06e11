import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { DisconnectReason } from '@livekit/protocol';
import { freePort } from '../kit/free-ports.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startNodeProcess, type ProcessNode } from '../kit/node.ts';

type Outcome = { code: number; out: string; err: string };

const main = path.join(import.meta.dirname, '../../src/main.ts');

/** A command as a person starts it, in a process of its own. */
async function plenum(args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, timeout: 30_000 };
    execFile(process.execPath, [main, ...args], options, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err });
    });
  });
}

describe('command line', () => {
  let node: ProcessNode;
  let endpoint: LightEndpoint;
  let folder: string;

  before(async () => {
    [node, endpoint, folder] = await Promise.all([
      startNodeProcess(),
      LightEndpoint.start(),
      mkdtemp(path.join(tmpdir(), 'plenum-cli-')),
    ]);
  });

  after(async () => {
    await endpoint?.close();
    await node?.close();
    await rm(folder, { recursive: true });
  });

  async function onServer(...args: string[]): Promise<Outcome> {
    return plenum(args, { LIVEKIT_URL: node.url });
  }

  /** What a command with `--json` prints. */
  async function json<Value>(...args: string[]): Promise<Value> {
    const { code, out, err } = await onServer(...args, '--json');
    assert.equal(code, 0, err);
    return JSON.parse(out) as Value;
  }

  async function config(name: string, text: string): Promise<string> {
    const file = path.join(folder, name);
    await writeFile(file, text);
    return file;
  }

  it('shows every command in its help and leads to it from a typing mistake', async () => {
    const [help, mistake, deeper] = await Promise.all([plenum(['--help']), plenum(['tokn']), plenum(['room', 'lst'])]);
    assert.equal(help.code, 0);
    for (const command of ['dev', 'start', 'token', 'room', 'test', 'check']) {
      assert.match(help.out, new RegExp(`^ {2}${command} `, 'm'));
    }
    assert.equal(mistake.code, 2);
    assert.match(
      mistake.err,
      /unknown command 'tokn'\n\(Did you mean token\?\)\n\(\.\/plenum --help shows what there is\)/,
    );
    assert.equal(deeper.code, 2);
    assert.match(deeper.err, /Did you mean list\?\)\n\(\.\/plenum room --help shows/);
  });

  it('makes a token that a client joins with, and a link that opens the meeting page', async () => {
    const [token, link] = await Promise.all([
      onServer('token', 'create', '--room', 'cli', '--identity', 'ana', '--name', 'Ana'),
      onServer('token', 'create', '--room', 'cli', '--identity', 'ben', '--link'),
    ]);
    const ana = await LightClient.join({ url: node.url, token: token.out.trim(), endpoint, publish: { audio: true } });
    await ana.waitForChannels();
    const url = new URL(link.out.trim());
    assert.match(url.searchParams.get('token') ?? '', /^ey/);
    assert.equal((await fetch(url)).status, 200);
    const validate = new URL('/rtc/validate', node.url);
    validate.searchParams.set('access_token', url.searchParams.get('token') ?? '');
    assert.equal(await (await fetch(validate)).text(), 'success');

    const [rooms, people, table] = await Promise.all([
      json<{ name: string; num_participants: number }[]>('room', 'list'),
      json<{ identity: string; name: string; tracks: { sid: string }[] }[]>('room', 'participants', 'cli'),
      onServer('room', 'participants', 'cli'),
    ]);
    assert.deepEqual(
      rooms.map(({ name, num_participants }) => [name, num_participants]),
      [['cli', 1]],
    );
    assert.deepEqual(
      people.map(({ identity, name }) => [identity, name]),
      [['ana', 'Ana']],
    );
    const [trackSid = ''] = ana.publishedTrackSids;
    assert.match(table.out, new RegExp(`^ana +Ana +PA_\\w+ +active +\\S+ +microphone ${trackSid}$`, 'm'));

    const [sent, muted] = await Promise.all([
      onServer('room', 'send-data', 'cli', 'hello', '--topic', 'notice'),
      onServer('room', 'mute', 'cli', 'ana'),
    ]);
    assert.equal(sent.out, 'Sent to everybody in cli.\n');
    assert.equal(muted.out, `Muted: ${trackSid}\n`);
    await ana.waitForPacket(({ value }) => value.case === 'user' && value.value.topic === 'notice');
    await ana.waitForMessage((message) => message.case === 'mute' && message.value.muted);
    const removed = await onServer('room', 'remove', 'cli', 'ana');
    assert.equal(removed.out, 'ana is removed from cli.\n');
    assert.equal((await ana.waitForLeave()).reason, DisconnectReason.PARTICIPANT_REMOVED);
    await ana.leave();
  });

  it('creates and deletes rooms', async () => {
    const room = await json<{ sid: string; max_participants: number }>(
      'room',
      'create',
      'made',
      '--max-participants',
      '7',
    );
    assert.match(room.sid, /^RM_/);
    assert.equal(room.max_participants, 7);
    assert.deepEqual(await json('room', 'delete', 'made'), {});
    const [again, gone] = await Promise.all([onServer('room', 'delete', 'made'), onServer('room', 'list', 'made')]);
    assert.deepEqual(again, {
      code: 1,
      out: '',
      err: 'plenum: the server says: requested room does not exist (not_found)\n',
    });
    assert.equal(gone.out, 'No rooms.\n');
  });

  it('sees the only node there is, and does not take a drain of another one for its own', async () => {
    const nodes = await json<{ id: string; state: string }[]>('node', 'list');
    assert.deepEqual(
      nodes.map(({ state }) => state),
      ['SERVING'],
    );
    const other = await onServer('node', 'drain', 'ND_other');
    assert.equal(other.code, 1);
    assert.match(other.err, /^plenum: there is no node ND_other.*plenum node list/);
    assert.equal((await onServer('node', 'drain', nodes[0]?.id ?? '', '--policy', 'later')).code, 2);
  });

  it('says in one line what to do when no server answers or the key is wrong', async () => {
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    const [away, refused, wrong] = await Promise.all([
      plenum(['room', 'list'], { LIVEKIT_URL: nowhere }),
      onServer('room', 'list', '--api-secret', 'wrong'),
      onServer('token', 'create', '--room', 'demo'),
    ]);
    assert.deepEqual([away.code, away.out], [1, '']);
    assert.match(
      away.err,
      /^plenum: no server answers at \S+ \(connection refused\)\. Start one with \.\/plenum dev.*\n$/,
    );
    assert.equal(refused.code, 1);
    assert.match(refused.err, /^plenum: the server at \S+ refuses the API key or secret.*\n$/);
    assert.equal(wrong.code, 2);
    assert.match(wrong.err, /^error: say who joins the room with --identity\n/);
  });

  it('says why a server does not start, without a stack', async () => {
    const port = String(node.port);
    const other = String(await freePort());
    const [taken, yaml, option, missing, metrics, worker] = await Promise.all([
      plenum(['dev', '--port', port]),
      plenum(['dev', '--config', await config('broken.yaml', 'port: [1\n')]),
      plenum(['start', '--config', await config('unknown.yaml', 'keys: { a: b }\nprot: 1\n')]),
      plenum(['start', '--config', path.join(folder, 'nowhere.yaml')]),
      plenum(['dev', '--port', other, '--config', await config('metrics.yaml', `prometheus_port: ${port}\n`)]),
      plenum(['dev', '--port', other], { MEDIASOUP_WORKER_BIN: '/bin/false' }),
    ]);
    assert.equal(taken.code, 1);
    const inUse = `plenum: cannot listen on 127.0.0.1 port ${port}: another program uses it.`;
    assert.equal(taken.err, `${inUse} Stop that one, or choose another port with --port.\n`);
    assert.doesNotMatch(taken.out, /ERROR|WARN|Plenum is ready/);
    assert.equal(yaml.code, 2);
    assert.match(yaml.err, /^plenum: The configuration cannot be used:\n {2}- not valid YAML: .* at line 2, column 1/);
    assert.equal(option.code, 2);
    assert.match(option.err, /unknown option `prot`; see docs\/reference\/config\.md/);
    assert.equal(missing.code, 2);
    assert.match(missing.err, /nowhere\.yaml cannot be read/);
    assert.equal(metrics.code, 1);
    assert.match(
      metrics.err,
      new RegExp(`^plenum: cannot serve metrics on 127\\.0\\.0\\.1 port ${port} .*in use.*\\n$`),
    );
    assert.equal(worker.code, 1);
    assert.match(worker.err, /^plenum: the media worker \/bin\/false did not start: .*\n$/);
    for (const { out, err } of [taken, yaml, option, missing, metrics, worker]) {
      assert.doesNotMatch(out + err, /^ {4}at /m);
    }
  });
});
