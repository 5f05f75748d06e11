import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, it, type TestContext } from 'node:test';
import { connect } from 'node:tls';
import { EdgeAttack, type Crowd } from '../../kit/edge-attack.ts';
import { freePort } from '../../kit/free-ports.ts';
import { LightClient } from '../../kit/light-client.ts';
import { LightEndpoint } from '../../kit/light/light-endpoint.ts';
import { LightSignal } from '../../kit/light/light-signal.ts';
import { Scrape } from '../../kit/metrics.ts';
import { startNodeProcess, type ProcessNode } from '../../kit/node.ts';
import { residentBytes } from '../../kit/process-memory.ts';
import { TestAuthority } from '../../kit/test-authority.ts';
import { joinToken } from '../../kit/tokens.ts';
import { until } from '../../kit/until.ts';

const domain = 'call.plenum.test';

export type EdgeLoad = {
  idle: Crowd;
  slow: Crowd;
  /** Addresses from which bad tokens come. */
  floods: number;
  /** Joins that are timed, in calm and under attack. */
  joins: number;
  /** Limit of connections of one address. */
  perAddress: number;
};

/** What a connection may cost on average, in the node and in what Node.js and OpenSSL keep for it. */
const bytesPerConnection = 200_000;
/** Of heaps that grow while much is asked and are not given back: after a minute of attack it stays as it is. */
const slackBytes = 150_000_000;

export function edgeLoadSuite(load: EdgeLoad): void {
  let node: ProcessNode;
  let endpoint: LightEndpoint;
  let authority: TestAuthority;
  let attack: EdgeAttack;
  let folder: string;
  let tlsPort: number;
  let metricsPort: number;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-load-'));
    authority = await TestAuthority.create();
    const { chain: certificate, key } = await authority.issue([domain]);
    [tlsPort, metricsPort] = [await freePort(), await freePort()];
    node = await startNodeProcess({
      config: {
        prometheus_port: metricsPort,
        // All of them come from addresses of this machine.
        trusted_proxies: [],
        limit: { connections_per_address: load.perAddress, connection_rate_per_address: 200 },
        tls: { mode: 'owncert', domain, port: tlsPort, http_port: 0, certificate, key, state_dir: folder },
      },
    });
    attack = new EdgeAttack({ httpPort: node.port, tlsPort });
    endpoint = await LightEndpoint.start();
    await until(async () => {
      const socket = connect({ port: tlsPort, host: '127.0.0.1', ca: authority.pem, servername: domain });
      await once(socket, 'secureConnect');
      socket.destroy();
      return '';
    });
  });
  after(async () => {
    await attack?.close();
    await endpoint?.close();
    await node?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Joins over `wss://` one after the other. @returns milliseconds of each, in order */
  async function joinTimes(count: number, room: string): Promise<number[]> {
    const times: number[] = [];
    for (let number = 0; number < count; number += 1) {
      const token = await joinToken({ room, identity: `guest-${number}` });
      const startedMs = performance.now();
      const { signal } = await LightSignal.open({
        url: `https://127.0.0.1:${tlsPort}`,
        token,
        query: { protocol: '16', auto_subscribe: '1' },
        timeoutMs: 15_000,
        tls: { ca: authority.pem, servername: domain },
        onMessage: () => {},
        onClose: () => {},
      });
      times.push(performance.now() - startedMs);
      await signal.close();
    }
    return times.toSorted((left, right) => left - right);
  }

  async function joinWithMedia(room: string): Promise<void> {
    const person = await LightClient.join({
      url: node.url,
      token: await joinToken({ room, identity: 'ana' }),
      endpoint,
      publish: { audio: true },
    });
    assert.equal(person.publishedTrackSids.length, 1);
    await person.leave();
  }

  /** The server ends idle connections after some seconds, and they come again: all of them are there at a time. */
  async function waitUntilFull(): Promise<void> {
    const wanted = load.idle.addresses * load.idle.each;
    await until(
      async () => {
        const open = (await Scrape.of(metricsPort)).sum('plenum_tls_connections');
        return open >= wanted ? '' : `${open} of ${wanted} connections are open`;
      },
      { timeoutMs: 30_000, intervalMs: 100 },
    );
  }

  it('lets people join and keeps its bounds', async (t: TestContext) => {
    await joinTimes(5, 'warm');
    const calm = await joinTimes(load.joins, 'calm');
    const calmBytes = await residentBytes(node.pid);

    await attack.idle(load.idle, '127.0.1');
    await attack.slow(load.slow, '127.0.2');
    for (let address = 1; address <= load.floods; address += 1) attack.flood(`127.0.3.${address}`);
    await waitUntilFull();
    const attacked = await joinTimes(load.joins, 'attacked');
    await joinWithMedia('media');

    const crowd = await Promise.all(Array.from({ length: load.perAddress + 20 }, () => attack.tryTls('127.0.4.1')));
    assert.equal(crowd.filter(Boolean).length, load.perAddress);
    const metrics = await Scrape.of(metricsPort);
    assert.ok(metrics.sum('plenum_tls_connections_refused_total', { reason: 'address-limit' }) >= 20);

    // By now each slow connection has been sent away once, and what is there is there for the second time.
    const slow = load.slow.addresses * load.slow.each;
    await until(
      () => (attack.slowEnded.size >= slow ? '' : `${attack.slowEnded.size} of ${slow} slow ones were ended`),
      {
        timeoutMs: 40_000,
      },
    );
    await waitUntilFull();
    await joinWithMedia('media-later');
    const attackedBytes = await residentBytes(node.pid);
    const open = (await Scrape.of(metricsPort)).sum('plenum_tls_connections');
    await attack.close();

    const { answers } = attack;
    assert.ok((answers.get(401) ?? 0) > 0 && (answers.get(429) ?? 0) > 0, JSON.stringify([...answers]));
    assert.equal(answers.get(200), undefined);
    const grownBytes = attackedBytes - calmBytes;
    assert.ok(grownBytes < slackBytes + open * bytesPerConnection, `memory grew by ${toMb(grownBytes)}`);
    await until(async () => {
      const left = (await Scrape.of(metricsPort)).sum('plenum_tls_connections');
      return left === 0 ? '' : `${left} connections are still counted`;
    });
    await joinWithMedia('media-after');
    t.diagnostic(
      `joins over TLS, p50 and p95 in ms: ${percentiles(calm)} in calm; ${percentiles(attacked)} under attack`,
    );
    t.diagnostic(
      `memory grew by ${toMb(grownBytes)} with ${open} connections; slow ones were borne for at most ${Math.round(attack.longestSlowMs)} ms; answers to bad tokens: ${JSON.stringify(Object.fromEntries(answers))}`,
    );
  });
}

function percentiles(sorted: number[]): string {
  return [0.5, 0.95].map((share) => Math.round(sorted[Math.floor(sorted.length * share)] ?? 0)).join(', ');
}

function toMb(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
