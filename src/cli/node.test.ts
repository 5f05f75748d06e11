import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { createAdminApi } from '../admin/admin-api.ts';
import { MemoryCluster, type TestMember } from '../cluster/cluster-test-kit.ts';
import { configSchema } from '../config/options.ts';
import { DrainBoard, tellProgress } from '../drain/drain-progress.ts';
import { ClusterNodeAdmin } from '../drain/node-admin.ts';
import { NodeLifecycles } from '../drain/node-lifecycles.ts';
import { startGateway, type TestGateway } from '../gateway/gateway-test-kit.ts';
import { createLog } from '../observe/log.ts';
import { signToken } from '../protocol/token.ts';
import { until } from '../../test/kit/until.ts';
import { nodeCommand } from './node.ts';

const log = createLog({ level: 'silent', json: true });
const key = { apiKey: 'devkey', secret: 'secret' };

class Text {
  text = '';

  write(text: string): void {
    this.text += text;
  }
}

describe('plenum node and the admin API', () => {
  let cluster: MemoryCluster;
  let media: TestMember;
  let lifecycles: NodeLifecycles;
  let board: DrainBoard;
  let gateway: TestGateway;

  beforeEach(async () => {
    cluster = new MemoryCluster();
    media = await cluster.join('media', 'media', { rooms: 2, participants: 5, cpu: 0.42 });
    await cluster.join('master', 'master');
    const { store, nodeId } = media;
    lifecycles = new NodeLifecycles(store.nodeStates);
    await lifecycles.apply(nodeId, { kind: 'booted', owner: 'node', reason: 'started' });
    await lifecycles.apply(nodeId, { kind: 'ready', owner: 'node', reason: 'ready' });
    board = new DrainBoard();
    await board.listen(store.bus);
    const nodes = new ClusterNodeAdmin({ registry: store.nodes, lifecycles, board, log });
    const config = configSchema.parse({ drain: { policy: 'wait' } });
    gateway = await startGateway({ admin: createAdminApi({ nodes, config, log }) });
  });
  afterEach(async () => {
    board.close();
    await gateway[Symbol.asyncDispose]();
    cluster.close();
  });

  async function run(...args: string[]): Promise<{ out: string; err: string }> {
    const [out, err] = [new Text(), new Text()];
    const env = { LIVEKIT_URL: gateway.http, LIVEKIT_API_KEY: key.apiKey, LIVEKIT_API_SECRET: key.secret, USER: 'ana' };
    await nodeCommand(env, out, err).parseAsync(args, { from: 'user' });
    return { out: out.text, err: err.text };
  }

  async function ask(path: string, init: RequestInit & { claims?: object } = {}): Promise<[number, unknown]> {
    const claims = init.claims ?? { sub: 'ben', plenum: { nodeAdmin: true } };
    const token = signToken({ ...claims }, { ...key, nowS: Date.now() / 1_000, ttlS: 60 });
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${gateway.http}/admin/v1/nodes${path}`, { headers, ...init });
    const text = await response.text();
    return [response.status, text.startsWith('{') ? JSON.parse(text) : text];
  }

  const post = (path: string, body: unknown): Promise<[number, unknown]> =>
    ask(path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) });

  async function reasonOf(answer: Promise<[number, unknown]>): Promise<string> {
    const [status, body] = await answer;
    return `${status} ${(body as { error: { reason: string } }).error.reason}`;
  }

  it('lists the nodes of the cluster', async () => {
    const { out } = await run('list');
    const [head, master, node] = out.split('\n');
    assert.match(head ?? '', /^NODE +ROLE +STATE +ROOMS +PARTICIPANTS +CPU +ZONE +MACHINE +WHY/);
    assert.match(master ?? '', /^ND_master +master +SERVING/);
    assert.match(node ?? '', /^ND_media +media +SERVING +2 +5 +42% +test$/);
    const [json] = JSON.parse((await run('list', '--json')).out) as { id: string; load: unknown }[];
    assert.equal(json?.id, 'ND_master');
  });

  it('cordons and undrains a node, and shows who did it and why', async () => {
    const { out } = await run('cordon', 'ND_media', '--reason', 'odd \u001b[2J noises');
    assert.match(out, /^state +CORDONED$/m);
    assert.match(out, /^owner +ana$/m);
    assert.match(out, /^reason +odd \\u001b\[2J noises$/m);
    assert.match((await run('list')).out, /ND_media +media +CORDONED .*ana: odd/);
    assert.match((await run('undrain', 'ND_media')).out, /^state +SERVING$/m);
  });

  it('drains a node with the configured policy, and follows it to its end', async () => {
    const { store, nodeId } = media;
    const drained = run('drain', 'ND_media', '--reason', 'update', '--wait');
    await until(async () => ((await lifecycles.get(nodeId))?.state === 'DRAINING' ? '' : 'not drained'));
    const record = await lifecycles.get(nodeId);
    assert.deepEqual([record?.policy, record?.remainingMs, record?.owner], ['wait', null, 'ana']);
    const progress = {
      nodeId,
      epoch: record?.epoch ?? 0,
      rooms: 2,
      participants: 1,
      jobs: 0,
      furtherWaits: 0,
      leader: nodeId,
    };
    await tellProgress(store.bus, { ...progress, waitingFor: ['room a goes on', 'room b goes on'] });
    const shown = await run('show', 'ND_media');
    assert.match(shown.out, /^policy +wait$/m);
    assert.match(shown.out, /^left +2 rooms, 1 participant left$/m);
    assert.match(shown.out, /^waits for +room a goes on\n +room b goes on$/m);
    // The command looks twice a second.
    await delay(700);
    await lifecycles.apply(nodeId, { kind: 'emptied', owner: 'ana', reason: 'update' });
    const { out } = await drained;
    assert.match(out, /^ND_media DRAINING; 2 rooms, 1 participant left; room a goes on \(and 1 more\)$/m);
    assert.match(out, /^ND_media DRAINED$/m);
    await assert.rejects(run('undrain', 'ND_media'), { reason: 'already-drained', message: /Start its process again/ });
  });

  it('fails when a drain that it follows was taken back', async () => {
    const drained = run('drain', 'ND_media', '--policy', 'migrate', '--deadline', '10m', '--wait', '--json');
    await until(async () => ((await lifecycles.get(media.nodeId))?.state === 'DRAINING' ? '' : 'not drained'));
    assert.equal(Math.round(((await lifecycles.get(media.nodeId))?.remainingMs ?? 0) / 1_000), 600);
    await lifecycles.apply(media.nodeId, { kind: 'undrain', owner: 'ben', reason: 'needed' });
    await assert.rejects(drained, { reason: 'drain-ended-otherwise', message: /it is SERVING by ben \(needed\)/ });
  });

  it('says what is wrong and what to do', async () => {
    await assert.rejects(run('show', 'ND_none'), { reason: 'unknown-node', message: /plenum node list/ });
    await assert.rejects(run('drain', 'ND_master'), { reason: 'not-a-media-node', message: /is a master/ });
    await assert.rejects(run('list', '--api-secret', 'wrong'), { reason: 'key-refused', message: /--api-secret/ });
    await assert.rejects(run('list', '--url', 'http://127.0.0.1:1'), { reason: 'server-unreachable' });
    await assert.rejects(run('drain', 'ND_media', '--policy', 'wait', '--deadline', '5m'), { exitCode: 1 });
    await assert.rejects(run('drain', 'ND_media', '--policy', 'later'), { code: 'commander.invalidArgument' });
    await lifecycles.apply(media.nodeId, {
      kind: 'drain',
      owner: 'node',
      reason: 'SIGTERM',
      policy: 'migrate',
      deadlineMs: 1_000,
    });
    await assert.rejects(run('undrain', 'ND_media'), { reason: 'node-is-ending' });
    cluster.server.stop();
    await assert.rejects(run('list'), { reason: 'store-away', message: /store does not answer/ });
  });

  it('tells another server from one that has no such API', async () => {
    const server: Server = createServer((_request, response) => response.writeHead(404).end('nope')).listen(0);
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await assert.rejects(run('list', '--url', url), { reason: 'not-a-server' });
    server.close();
  });

  it('lets nobody in without the grant for nodes, and takes no token from the URL', async () => {
    const room = { sub: 'eve', video: { roomAdmin: true, roomCreate: true, roomList: true } };
    assert.equal(await reasonOf(ask('', { claims: room })), '403 no-admin-grant');
    assert.equal(await reasonOf(ask('', { claims: { plenum: { nodeAdmin: false } } })), '403 no-admin-grant');
    assert.equal(await reasonOf(ask('', { headers: {} })), '401 no-token');
    const token = signToken({ plenum: { nodeAdmin: true } }, { ...key, nowS: Date.now() / 1_000, ttlS: 60 });
    assert.equal(await reasonOf(ask(`?access_token=${token}`, { headers: {} })), '401 no-token');
    const late = signToken({ plenum: { nodeAdmin: true } }, { ...key, nowS: Date.now() / 1_000 - 900, ttlS: 60 });
    assert.equal((await ask('', { headers: { authorization: `Bearer ${late}` } }))[0], 401);
    assert.equal((await ask('', { claims: { plenum: 'yes' } }))[0], 401);
  });

  it('refuses requests that are not what it takes, with JSON that says why', async () => {
    assert.equal(await reasonOf(ask('/ND_media/reboot', { method: 'POST' })), '404 no-such-path');
    assert.equal(await reasonOf(ask('/ND_media/drain/now', { method: 'POST' })), '404 no-such-path');
    assert.equal(await reasonOf(ask('/ND_none')), '404 unknown-node');
    assert.equal(await reasonOf(ask('/ND_media/drain')), '405 method-not-allowed');
    assert.equal(await reasonOf(post('', {})), '405 method-not-allowed');
    assert.equal(await reasonOf(post('/ND_media/drain', 'no json')), '400 bad-body');
    assert.equal(await reasonOf(post('/ND_media/drain', { policy: 'later' })), '400 bad-body');
    assert.equal(await reasonOf(post('/ND_media/drain', { speed: 3 })), '400 bad-body');
    assert.equal(await reasonOf(post('/ND_media/drain', { policy: 'wait', deadlineSeconds: 5 })), '400 bad-body');
    assert.equal(await reasonOf(post('/ND_media/drain', { deadlineIsHard: true })), '400 bad-body');
    assert.equal(await reasonOf(post('/ND_media/cordon', 'x'.repeat(20_000))), '413 body-too-large');
    const [status, body] = await post('/ND_media/cordon', { reason: 'x', more: 1 });
    assert.deepEqual(
      [status, body],
      [400, { error: { reason: 'bad-body', message: 'the body is not valid: Unrecognized key: "more"' } }],
    );
    const [, report] = await post('/ND_media/drain', { policy: 'wait', deadlineSeconds: 5, deadlineIsHard: true });
    assert.deepEqual((report as { owner: string; drain: object }).drain, {
      policy: 'wait',
      secondsLeft: 5,
      deadlineIsHard: true,
      rooms: null,
      participants: null,
      jobs: null,
      waitingFor: [],
      furtherWaits: 0,
      leader: '',
    });
    assert.equal(await reasonOf(post('/ND_master/cordon', {})), '409 not-a-media-node');
    cluster.server.stop();
    assert.equal(await reasonOf(ask('')), '503 store-away');
  });
});
