import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, symlink, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { AdminClient } from '../../src/cli/admin-client.ts';
import type { NodeReport } from '../../src/protocol/node-report.ts';
import { TestCluster, type ClusterProcess } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const roomCount = 6;

/** A node says so when it had no worker for half a minute, so this takes longer than the other tests of clusters. */
describe('a media node whose workers cannot be started any more', () => {
  let folder: string;
  let cluster: TestCluster;
  let endpoint: LightEndpoint;
  let broken: ClusterProcess;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-worker-'));
    cluster = await TestCluster.start({ masters: 1, media: 1 });
    const worker = process.env['MEDIASOUP_WORKER_BIN'] ?? '';
    const link = path.join(folder, 'mediasoup-worker');
    await symlink(worker, link);
    process.env['MEDIASOUP_WORKER_BIN'] = link;
    broken = await cluster.addMedia();
    process.env['MEDIASOUP_WORKER_BIN'] = worker;
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const admin = (): AdminClient => new AdminClient({ url: cluster.url(0), ...devKey }, { USER: 'ana' });
  const report = (): Promise<NodeReport> => admin().get(broken.nodeId);

  /** As apps do it: who is told to leave comes again. A fresh room each time, which has to be placed. */
  async function join(room: string): Promise<LightClient> {
    let client: LightClient | undefined;
    let count = 0;
    await until(async () => {
      const token = await joinToken({ room: `${room}-${(count += 1)}`, identity: 'ann' });
      client = await LightClient.join({ url: cluster.url(0), token, endpoint, publish: { audio: true } });
      return '';
    });
    if (client === undefined) throw new Error('nobody joined');
    return client;
  }

  async function joinsOneByOne(name: string): Promise<LightClient[]> {
    const clients: LightClient[] = [];
    for (let index = 0; index < roomCount; index += 1) clients.push(await join(`${name}-${index}`));
    return clients;
  }

  it('gets no more work, says that it has failed, and is taken for what it is by the operator', async () => {
    broken.log.expectErrors(/worker/);
    await until(async () => ((await report()).state === 'SERVING' ? '' : 'it does not serve yet'));
    await unlink(path.join(folder, 'mediasoup-worker'));
    execFileSync('pkill', ['-KILL', '-P', String(broken.pid), 'mediasoup']);
    await until(() =>
      broken.log.lines.some((line) => line.level >= 40 && /worker/.test(line.msg)) ? '' : 'nothing is said',
    );
    const early = await joinsOneByOne('early');
    await until(async () => ((await report()).state === 'FAILED' ? '' : `it is ${JSON.stringify(await report())}`), {
      timeoutMs: 60_000,
      intervalMs: 500,
    });
    assert.match((await report()).reason ?? '', /no media worker is running/);
    const late = await joinsOneByOne('late');
    for (const client of [...early, ...late]) {
      assert.equal(client.leaveReceived, undefined);
      await client.leave();
    }
  });
});
