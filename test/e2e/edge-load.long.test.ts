import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import { freePort } from '../kit/free-ports.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { LightSignal } from '../kit/light/light-signal.ts';
import { Scrape } from '../kit/metrics.ts';
import { startNodeProcess, type ProcessNode } from '../kit/node.ts';
import { residentBytes } from '../kit/process-memory.ts';
import { TestAuthority } from '../kit/test-authority.ts';
import { joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const domain = 'call.plenum.test';
const perAddress = 200;
const idle = { addresses: 20, each: 100 };
const slow = { addresses: 4, each: 50 };

describe('a public port under attack', () => {
  let node: ProcessNode;
  let endpoint: LightEndpoint;
  let authority: TestAuthority;
  let folder: string;
  let tlsPort: number;
  let metricsPort: number;
  const sockets = new Set<Socket>();

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
        limit: { connections_per_address: perAddress, connection_rate_per_address: 200 },
        tls: { mode: 'owncert', domain, port: tlsPort, http_port: 0, certificate, key, state_dir: folder },
      },
    });
    endpoint = await LightEndpoint.start();
    await until(async () => {
      const socket = connect({ port: tlsPort, host: '127.0.0.1', ca: authority.pem, servername: domain });
      await once(socket, 'secureConnect');
      socket.destroy();
      return '';
    });
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    await endpoint?.close();
    await node?.close();
    await rm(folder, { recursive: true, force: true });
  });

  function keep(socket: Socket): Socket {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    return socket;
  }

  /** A handshake and nothing more. @returns whether it was let in */
  async function openIdle(localAddress: string): Promise<boolean> {
    const raw = keep(connectTcp({ port: tlsPort, host: '127.0.0.1', localAddress }));
    const socket = keep(connect({ socket: raw, rejectUnauthorized: false }));
    return Promise.race([
      once(socket, 'secureConnect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false);
  }

  /** Begins a handshake or a request and goes on with one byte at a time. */
  function openSlow(localAddress: string, what: 'handshake' | 'request'): Socket {
    const head = what === 'handshake' ? Buffer.from('16030102000100', 'hex') : Buffer.from('GET / HTTP/1.1\r\nX: ');
    const port = what === 'handshake' ? tlsPort : node.port;
    const socket = keep(connectTcp({ port, host: '127.0.0.1', localAddress }));
    socket.write(head);
    const drip = setInterval(() => socket.write('a'), 1_000);
    socket.once('close', () => clearInterval(drip));
    return socket;
  }

  /** Joins over `wss://` one after the other. @returns milliseconds of each */
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

  /** Asks with tokens that are none until it is stopped. */
  function flood(localAddress: string, answers: Map<number, number>, stop: AbortSignal): Promise<void>[] {
    const agent = new Agent({ keepAlive: true, maxSockets: 5, localAddress });
    stop.addEventListener('abort', () => agent.destroy());
    const ask = async (): Promise<void> => {
      while (!stop.aborted) {
        const status = await validate(agent, node.port).catch(() => 0);
        answers.set(status, (answers.get(status) ?? 0) + 1);
      }
    };
    return Array.from({ length: 5 }, ask);
  }

  it('lets people join and keeps its bounds: 2,000 idle connections, 200 slow ones, a flood of bad tokens', async (t) => {
    await joinTimes(5, 'warm');
    const calm = await joinTimes(20, 'calm');
    const beforeBytes = await residentBytes(node.pid);

    for (let address = 1; address <= idle.addresses; address += 1) {
      for (let batch = 0; batch < idle.each / 25; batch += 1) {
        const opened = await Promise.all(Array.from({ length: 25 }, () => openIdle(`127.0.1.${address}`)));
        assert.ok(opened.every(Boolean), 'an idle connection within the limit was refused');
      }
    }
    const slowOnes = Array.from({ length: slow.addresses }, (_, address) =>
      Array.from({ length: slow.each }, (_unused, index) =>
        openSlow(`127.0.2.${address + 1}`, index % 2 === 0 ? 'handshake' : 'request'),
      ),
    ).flat();
    const answers = new Map<number, number>();
    const stop = new AbortController();
    const flooding = [1, 2].flatMap((address) => flood(`127.0.3.${address}`, answers, stop.signal));

    const attacked = await joinTimes(20, 'attacked');
    const person = await LightClient.join({
      url: node.url,
      token: await joinToken({ room: 'media', identity: 'ana' }),
      endpoint,
      publish: { audio: true },
    });
    assert.equal(person.publishedTrackSids.length, 1);
    await person.leave();

    const crowd = await Promise.all(Array.from({ length: perAddress + 50 }, () => openIdle('127.0.4.1')));
    assert.equal(crowd.filter(Boolean).length, perAddress);
    const metrics = await Scrape.of(metricsPort);
    assert.ok(metrics.sum('plenum_tls_connections_refused_total', { reason: 'address-limit' }) >= 50);

    await until(() => (slowOnes.every((socket) => socket.closed) ? '' : 'slow connections are still open'), {
      timeoutMs: 30_000,
    });
    stop.abort();
    await Promise.all(flooding);
    const attackedBytes = await residentBytes(node.pid);
    assert.ok((answers.get(401) ?? 0) > 0 && (answers.get(429) ?? 0) > 0, JSON.stringify([...answers]));
    assert.equal(answers.get(200), undefined);
    const grownMb = (attackedBytes - beforeBytes) / 1e6;
    assert.ok(grownMb < 400, `memory grew by ${Math.round(grownMb)} MB`);
    const at = (times: number[], share: number): number => Math.round(times[Math.floor(times.length * share)] ?? 0);
    t.diagnostic(
      `joins over TLS, p50 and p95 in ms: ${at(calm, 0.5)}, ${at(calm, 0.95)} in calm; ${at(attacked, 0.5)}, ${at(attacked, 0.95)} under attack; memory grew by ${Math.round(grownMb)} MB; answers to bad tokens: ${JSON.stringify(Object.fromEntries(answers))}`,
    );
  });
});

function validate(agent: Agent, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  request({ agent, port, host: '127.0.0.1', path: '/rtc/validate?access_token=a.b.c' }, (response) => {
    response.resume().on('end', () => resolve(response.statusCode ?? 0));
  })
    .on('error', reject)
    .end();
  return promise;
}
