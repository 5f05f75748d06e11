/** How many joins per second a running cluster takes, and what participants that do nothing cost a master. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, it } from 'node:test';
import { delayFigures, tellBench } from '../kit/bench-figures.ts';
import { TestCluster } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { percentile } from '../kit/percentiles.ts';
import { cpuMs } from '../kit/process-cpu.ts';
import { joinToken } from '../kit/tokens.ts';

const participants = 300;
const perRoom = 3;
const atOnce = 20;
const idleMs = 30_000;

describe('a cluster of two masters and three media nodes', () => {
  let cluster: TestCluster;
  let endpoint: LightEndpoint;

  before(async () => {
    cluster = await TestCluster.start({ masters: 2, media: 3 });
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
  });

  /** Each process by name. */
  async function cpuOfNodes(): Promise<Map<string, number>> {
    return new Map(await Promise.all(cluster.nodes.map(async ({ name, pid }) => [name, await cpuMs(pid)] as const)));
  }

  function grown(before: Map<string, number>, now: Map<string, number>, role: string): number {
    return [...now]
      .filter(([name]) => name.startsWith(role))
      .reduce((sum, [name, value]) => sum + value - (before.get(name) ?? 0), 0);
  }

  async function joinAll(clients: LightClient[], joinMs: number[]): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < participants) {
        const index = next;
        next += 1;
        const room = `room-${Math.floor(index / perRoom)}`;
        const startMs = performance.now();
        const token = await joinToken({ room, identity: `p-${index}` });
        clients.push(await LightClient.join({ url: cluster.url(index % 2), token, endpoint }));
        joinMs.push(performance.now() - startMs);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }

  it('takes joins and keeps idle participants at little cost', async (t) => {
    const clients: LightClient[] = [];
    const joinMs: number[] = [];
    const cpuBefore = await cpuOfNodes();
    const startMs = performance.now();
    await joinAll(clients, joinMs);
    const tookS = (performance.now() - startMs) / 1000;
    const cpuJoined = await cpuOfNodes();
    const testCpuMs = await cpuMs(process.pid);
    await delay(idleMs);
    const cpuIdle = await cpuOfNodes();
    const perThousand = (role: string): number =>
      (grown(cpuJoined, cpuIdle, role) / idleMs) * 100 * (1000 / participants);
    const row = (what: string, value: string): void => t.diagnostic(`${what.padEnd(52)} ${value.padStart(12)}`);
    row('participants, in rooms of 3', String(participants));
    row(`joins per second, ${atOnce} at a time`, (participants / tookS).toFixed(1));
    row('join until connected, p50', `${percentile(joinMs, 0.5).toFixed(0)} ms`);
    row('join until connected, p95', `${percentile(joinMs, 0.95).toFixed(0)} ms`);
    row('CPU of all masters per join', `${(grown(cpuBefore, cpuJoined, 'master') / participants).toFixed(2)} ms`);
    row(
      'CPU of all media nodes per join, without workers',
      `${(grown(cpuBefore, cpuJoined, 'media') / participants).toFixed(2)} ms`,
    );
    row('CPU of the clients of this test per join', `${(testCpuMs / participants).toFixed(2)} ms`);
    row('CPU of masters per 1,000 idle participants', `${perThousand('master').toFixed(1)} % of a core`);
    row('CPU of media nodes per 1,000 idle participants', `${perThousand('media').toFixed(1)} % of a core`);
    tellBench(`${participants} joins into rooms of ${perRoom}`, {
      'joins/s': participants / tookS,
      ...delayFigures(joinMs),
      'masters ms/join': grown(cpuBefore, cpuJoined, 'master') / participants,
      'media nodes ms/join': grown(cpuBefore, cpuJoined, 'media') / participants,
    });
    for (const client of clients) assert.equal(client.leaveReceived, undefined);
    await Promise.all(clients.map((client) => client.leave()));
  });
});
