import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { connect as connectTls, createServer as createTlsServer, type Server, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { SignalResponse } from '@livekit/protocol';
import { TestBrowser } from '../kit/browser.ts';
import { BrowserPeer } from '../kit/browser-peer.ts';
import { freePort } from '../kit/free-ports.ts';
import { Scrape } from '../kit/metrics.ts';
import { startNodeProcess, type ProcessNode } from '../kit/node.ts';
import { TestAuthority, trustFlag } from '../kit/test-authority.ts';
import { joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const domain = 'call.plenum.test';
/** One that is trusted, and one that is not, both on this machine. */
const [trusted, stranger] = ['127.0.0.2', '127.0.0.3'];
/** A proxy behind the load balancer, trusted as well. */
const innerProxy = '10.1.1.1';
const perAddress = 3;
/** At once after a rest: ten times the rate of one per second. */
const badTokens = 10;

type Proxied = { from: string; header?: Buffer };

const version1 = (client: string): Buffer =>
  Buffer.from(`PROXY TCP${client.includes(':') ? 6 : 4} ${client} ${client} 40000 443\r\n`);

/** PROXY protocol, version 2, over TCP; with a TLV behind the addresses, as load balancers of clouds send them. */
function version2(client: string): Buffer {
  const isV6 = client.includes(':');
  const address = isV6 ? addressBytes(client) : Buffer.from(client.split('.').map(Number));
  const rest = Buffer.concat([
    address,
    address,
    Buffer.from('9c4001bb', 'hex'),
    Buffer.from('ee0005010000002a', 'hex'),
  ]);
  const head = Buffer.concat([
    Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'),
    Buffer.of(0x21, isV6 ? 0x21 : 0x11, 0, 0),
  ]);
  head.writeUInt16BE(rest.length, 14);
  return Buffer.concat([head, rest]);
}

/** What a load balancer says of its own health checks. */
const local2 = Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), Buffer.of(0x20, 0, 0, 0)]);

/** Of an address with all its eight groups. */
function addressBytes(address: string): Buffer {
  const bytes = Buffer.alloc(16);
  for (const [index, group] of address.split(':').entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * index);
  return bytes;
}

describe('behind proxies', () => {
  let node: ProcessNode;
  let folder: string;
  let tlsPort: number;
  let metricsPort: number;
  const sockets: Socket[] = [];

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-proxies-'));
    [tlsPort, metricsPort] = [await freePort(), await freePort()];
    node = await startNodeProcess({
      config: {
        prometheus_port: metricsPort,
        trusted_proxies: [trusted, `${innerProxy}/32`],
        limit: { connections_per_address: perAddress, connection_rate_per_address: 0, bad_token_rate_per_address: 1 },
        tls: { mode: 'selfsigned', domain, port: tlsPort, http_port: 0, proxy_protocol: true, state_dir: folder },
      },
    });
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await until(async () => {
      const metrics = await Scrape.of(metricsPort);
      const open = metrics.sum('plenum_tls_connections');
      return open === 0 ? '' : `${open} connections are open`;
    });
  });
  after(async () => {
    await node?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** TLS over a connection that begins with that header. Node.js wants the connection to be idle when it is wrapped. */
  async function wrap({ from, header }: Proxied): Promise<TLSSocket> {
    const raw = connectTcp({ port: tlsPort, host: '127.0.0.1', localAddress: from });
    raw.on('error', () => {});
    await once(raw, 'connect');
    if (header !== undefined) {
      const written = Promise.withResolvers<void>();
      raw.write(header, () => written.resolve());
      await written.promise;
    }
    const socket = connectTls({ socket: raw, servername: domain, rejectUnauthorized: false });
    sockets.push(socket.on('error', () => {}));
    return socket;
  }

  /** @returns undefined when it was not let in */
  async function open(proxied: Proxied): Promise<TLSSocket | undefined> {
    const socket = await wrap(proxied).catch(() => undefined);
    if (socket === undefined) return undefined;
    const { promise, resolve } = Promise.withResolvers<TLSSocket | undefined>();
    socket.once('secureConnect', () => resolve(socket)).once('close', () => resolve(undefined));
    return promise;
  }

  /** How many of so many connections, one after the other, are let in and stay. */
  async function letIn(count: number, proxied: Proxied): Promise<number> {
    let found = 0;
    for (let number = 0; number < count; number += 1) if ((await open(proxied)) !== undefined) found += 1;
    return found;
  }

  async function refused(reason: string): Promise<number> {
    return (await Scrape.of(metricsPort)).sum('plenum_tls_connections_refused_total', { reason });
  }

  /** Statuses of questions with a bad token, each with the next of these headers. */
  async function ask(from: string, headers: Record<string, string>[]): Promise<number[]> {
    const statuses: number[] = [];
    for (const each of headers)
      statuses.push(await askOnce({ port: node.port, localAddress: from, agent: false }, each));
    return statuses;
  }

  async function askOverTls(proxied: Proxied, headers: Record<string, string>): Promise<number> {
    const socket = await open(proxied);
    assert.ok(socket !== undefined, 'not let in');
    const status = await askOnce({ createConnection: () => socket }, headers);
    socket.destroy();
    return status;
  }

  it('counts the client that a trusted proxy names in the PROXY protocol, in either version', async () => {
    const client = '203.0.113.1';
    assert.equal(await letIn(perAddress + 1, { from: trusted, header: version1(client) }), perAddress);
    assert.equal(await letIn(1, { from: trusted, header: version2(client) }), 0);
    assert.equal(await letIn(perAddress + 1, { from: trusted, header: version2('203.0.113.2') }), perAddress);
    const [first] = sockets;
    first?.destroy();
    await until(async () => ((await letIn(1, { from: trusted, header: version2(client) })) === 1 ? '' : 'still full'));
  });

  it('counts clients of IPv6 by their /64', async () => {
    const clients = [1, 2, 3, 4].map((last) => `2001:db8:0:7:0:0:0:${last}`);
    const inside = await Promise.all(clients.map((client) => letIn(1, { from: trusted, header: version2(client) })));
    assert.equal(
      inside.reduce((sum, one) => sum + one, 0),
      perAddress,
    );
    assert.equal(await letIn(1, { from: trusted, header: version1('2001:db8:0:8:0:0:0:1') }), 1);
  });

  it('lets a trusted proxy speak for itself without a limit', async () => {
    assert.equal(await letIn(perAddress * 2, { from: trusted, header: local2 }), perAddress * 2);
    assert.equal(await letIn(perAddress * 2, { from: trusted }), perAddress * 2);
    const unknown = { from: trusted, header: Buffer.from('PROXY UNKNOWN\r\n') };
    assert.equal(await letIn(perAddress * 2, unknown), perAddress * 2);
  });

  it('turns away who speaks the PROXY protocol without being trusted, and counts it by its own address', async () => {
    const before = await refused('not-tls');
    assert.equal(await letIn(1, { from: stranger, header: version1('203.0.113.9') }), 0);
    assert.equal(await letIn(1, { from: stranger, header: version2('203.0.113.9') }), 0);
    assert.equal(await refused('not-tls'), before + 2);
    assert.equal(await letIn(perAddress + 1, { from: stranger }), perAddress);
    assert.equal(await letIn(perAddress, { from: trusted, header: version1('203.0.113.9') }), perAddress);
  });

  it('believes X-Forwarded-For from a trusted proxy, its last entry that is no proxy', async () => {
    const from = (...list: string[]): Record<string, string> => ({ 'X-Forwarded-For': list.join(', ') });
    const client = '203.0.113.20';
    assert.deepEqual(
      await ask(
        trusted,
        Array.from({ length: badTokens }, () => from(client)),
      ),
      all(401, badTokens),
    );
    // Whatever the client had written itself stands before what its proxies added.
    for (const same of [
      from(client),
      from('198.51.100.1', client),
      from('198.51.100.2', client, innerProxy),
      { 'X-Real-IP': client },
      { 'CF-Connecting-IP': client },
    ]) {
      // One more per second would be answered; somebody else would be answered ten times.
      const statuses = await ask(
        trusted,
        Array.from({ length: badTokens - 1 }, () => same),
      );
      assert.ok(statuses.includes(429), `${JSON.stringify(same)}: ${statuses.join()}`);
    }
    assert.deepEqual(await ask(trusted, [from('203.0.113.21')]), [401]);
    assert.deepEqual(
      await ask(
        trusted,
        Array.from({ length: 15 }, () => ({})),
      ),
      all(401, 15),
    );
  });

  it('ignores such headers of anybody else', async () => {
    const spoofed = Array.from({ length: 2 * badTokens }, (_, number) => ({
      'X-Forwarded-For': `198.51.100.${number}`,
      'X-Real-IP': `198.51.100.${number}`,
      'CF-Connecting-IP': `198.51.100.${number}`,
    }));
    const statuses = await ask(stranger, spoofed);
    assert.deepEqual(statuses.slice(0, badTokens), all(401, badTokens));
    assert.ok(statuses.includes(429), statuses.join());
    assert.deepEqual(await ask(trusted, [{ 'X-Forwarded-For': '198.51.100.1' }]), [401]);
  });

  it('takes headers on a connection for those of whom the PROXY protocol named', async () => {
    const client = { from: trusted, header: version2('203.0.113.30') };
    const statuses: number[] = [];
    for (let number = 0; number < 2 * badTokens; number += 1)
      statuses.push(await askOverTls(client, { 'X-Forwarded-For': `198.51.100.${number}` }));
    assert.deepEqual(statuses.slice(0, badTokens), all(401, badTokens));
    assert.ok(statuses.includes(429), statuses.join());
    const proxy = { from: trusted, header: version1(innerProxy) };
    const more: number[] = [];
    for (let number = 0; number < badTokens - 1; number += 1)
      more.push(await askOverTls(proxy, { 'X-Forwarded-For': '203.0.113.30' }));
    assert.ok(more.includes(429), more.join());
    assert.equal(await askOverTls(proxy, { 'X-Forwarded-For': '203.0.113.31' }), 401);
  });

  it('carries signalling through it', async () => {
    const connection = await wrap({ from: trusted, header: version2('203.0.113.40') });
    const token = await joinToken({ room: 'proxied', identity: 'ana' });
    const socket = new WebSocket(`wss://${domain}/rtc?access_token=${token}&protocol=16&auto_subscribe=1`, {
      createConnection: () => connection,
    });
    const [data] = (await once(socket, 'message')) as [Buffer];
    assert.equal(SignalResponse.fromBinary(data).message.case, 'join');
    socket.close();
    await once(socket, 'close');
  });
});

describe('behind a proxy that ends TLS', () => {
  let node: ProcessNode;
  let proxy: Server;
  let browser: TestBrowser;
  let proxyPort: number;

  before(async () => {
    const authority = await TestAuthority.create();
    const { chain, key } = await authority.issue([domain]);
    node = await startNodeProcess();
    proxy = createTlsServer({ cert: chain, key, ALPNProtocols: ['http/1.1'] }, (client) => {
      const server = connectTcp({ port: node.port, host: '127.0.0.1' });
      client.on('error', () => server.destroy()).on('close', () => server.destroy());
      server.on('error', () => client.destroy()).on('close', () => client.destroy());
      client.pipe(server).pipe(client);
    });
    proxyPort = await freePort();
    await once(proxy.listen(proxyPort, '127.0.0.1'), 'listening');
    browser = await TestBrowser.start(['--host-resolver-rules=MAP *.plenum.test 127.0.0.1', trustFlag(authority.pem)]);
  });
  after(async () => {
    await browser?.close();
    proxy?.close();
    await node?.close();
  });

  it('carries a call over wss', async () => {
    const url = `wss://${domain}:${proxyPort}`;
    const ana = await BrowserPeer.join(browser, { url, room: 'outside', identity: 'ana' });
    const ben = await BrowserPeer.join(browser, { url, room: 'outside', identity: 'ben' });
    const track = await ana.publish('video');
    await ben.waitForPicture(track);
    for (const peer of [ana, ben]) await peer.close();
  });
});

function all(status: number, count: number): number[] {
  return Array.from({ length: count }, () => status);
}

/** A question with a token that is none. */
function askOnce(
  how: { port: number; localAddress: string; agent: false } | { createConnection: () => TLSSocket },
  headers: Record<string, string>,
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  request(
    {
      host: '127.0.0.1',
      path: '/rtc/validate?access_token=a.b.c',
      headers: { ...headers, Connection: 'close' },
      ...how,
    },
    (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    },
  )
    .on('error', reject)
    .end();
  return promise;
}
