import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import { TestBrowser } from '../kit/browser.ts';
import { BrowserPeer } from '../kit/browser-peer.ts';
import { freePort } from '../kit/free-ports.ts';
import { startNodeProcess, type ProcessNode, type RawConfig } from '../kit/node.ts';
import { Pebble } from '../kit/pebble.ts';
import { TestAuthority, trustFlag } from '../kit/test-authority.ts';
import { until } from '../kit/until.ts';

const domain = 'call.plenum.test';
const mappedNames = `--host-resolver-rules=MAP *.plenum.test 127.0.0.1`;

type Served = { authorized: boolean; names: string; pem: string; protocol: string | null };

/** What a client is shown at the door. */
async function look(port: number, ca: string[] = [], servername = domain): Promise<Served> {
  const socket = connect({ port, host: '127.0.0.1', servername, ca, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerX509Certificate();
  const served = {
    authorized: socket.authorized,
    names: certificate?.subjectAltName ?? '',
    pem: certificate?.toString() ?? '',
    protocol: socket.getProtocol(),
  };
  socket.destroy();
  return served;
}

describe('a site over TLS', () => {
  let folder: string;
  let tlsPort: number;
  let httpPort: number;
  const open: { close(): Promise<void> }[] = [];
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-tls-'));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function start(tls: RawConfig, env: Record<string, string> = {}, state = 'state'): Promise<ProcessNode> {
    tlsPort = await freePort();
    httpPort = typeof tls['http_port'] === 'number' ? tls['http_port'] : await freePort();
    const config = { tls: { domain, port: tlsPort, http_port: httpPort, state_dir: path.join(folder, state), ...tls } };
    const node = await startNodeProcess({ config, env });
    open.push(node);
    return node;
  }

  async function closeAll(): Promise<void> {
    for (const one of open.splice(0).toReversed()) await one.close();
  }

  /** Two people in Chromium, of whom one sees the other over `wss://`. */
  async function call(room: string, trusted: string[]): Promise<{ ben: BrowserPeer; track: string }> {
    const browser = await TestBrowser.start([mappedNames, trustFlag(...trusted)]);
    open.push(browser);
    const url = `wss://${domain}:${tlsPort}`;
    const ana = await BrowserPeer.join(browser, { url, room, identity: 'ana' });
    const ben = await BrowserPeer.join(browser, { url, room, identity: 'ben' });
    const track = await ana.publish('video');
    await ben.waitForPicture(track);
    return { ben, track };
  }

  it('with a self-signed certificate carries a call, and shows the same certificate after a restart', async () => {
    const first = await start({ mode: 'selfsigned', names: ['127.0.0.1'] });
    await until(async () => ((await look(tlsPort)).names.includes('127.0.0.1') ? '' : 'still the first certificate'));
    const served = await look(tlsPort);
    assert.equal(served.names, `DNS:${domain}, IP Address:127.0.0.1`);
    await call('selfsigned', [served.pem]);
    // Whoever clicked a warning away must not be locked out of everything else that this name serves.
    assert.doesNotMatch(await fetchHead(tlsPort), /strict-transport-security/i);
    const answer = await fetch(`http://127.0.0.1:${httpPort}/meet/?a=1`, { redirect: 'manual' });
    assert.deepEqual([answer.status, answer.headers.get('location')], [308, `https://127.0.0.1:${tlsPort}/meet/?a=1`]);
    await closeAll();
    assert.ok(first.log.lines.some(({ msg }) => msg === 'a new certificate is served'));
    await start({ mode: 'selfsigned', names: ['127.0.0.1'] });
    assert.equal((await look(tlsPort)).pem, served.pem);
    await closeAll();
  });

  it('with its own certificate carries a call, and takes a new file over without dropping anybody', async () => {
    const authority = await TestAuthority.create();
    const [chain, key] = [path.join(folder, 'chain.pem'), path.join(folder, 'key.pem')];
    const write = async (): Promise<string> => {
      const pair = await authority.issue([domain]);
      await writeFile(chain, pair.chain);
      await writeFile(key, pair.key);
      return pair.chain;
    };
    const before = await write();
    await start({ mode: 'owncert', certificate: chain, key }, {}, 'own');
    await until(async () => ((await look(tlsPort, [authority.pem])).authorized ? '' : 'not served yet'));
    const { ben, track } = await call('owncert', [authority.pem]);
    const head = await fetchHead(tlsPort);
    assert.match(head, /strict-transport-security: max-age=15552000/i);
    const renewed = await write();
    await until(
      async () => ((await look(tlsPort, [authority.pem])).pem === leafOf(renewed) ? '' : 'still the old one'),
      { timeoutMs: 45_000, intervalMs: 250 },
    );
    assert.notEqual(leafOf(before), leafOf(renewed));
    await ben.waitForPicture(track);
    const dropped = (await ben.page.events()).filter((name) => /^(signalR|r)econnect/.test(name));
    assert.deepEqual(dropped, []);
    await closeAll();
  });

  it('fetches a certificate from a URL once, and keeps it when the URL is gone', async () => {
    const authority = await TestAuthority.create();
    const pair = await authority.issue([domain]);
    let asked = 0;
    const server = createServer((request, response) => {
      asked += 1;
      response.end(request.url === '/key' ? pair.key : pair.chain);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const from = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const tls = { mode: 'owncert', certificate: `${from}/chain`, key: `${from}/key` };
    await start(tls, {}, 'url');
    await until(async () => ((await look(tlsPort, [authority.pem])).authorized ? '' : 'not served yet'));
    await closeAll();
    server.closeAllConnections();
    server.close();
    await start(tls, {}, 'url');
    assert.equal((await look(tlsPort, [authority.pem])).authorized, true);
    await closeAll();
    assert.equal(asked, 2);
  });

  it('takes the certificate as base64, and refuses clients with less than TLS 1.2', async () => {
    const authority = await TestAuthority.create();
    const pair = await authority.issue([domain]);
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    await start({ mode: 'owncert', certificate: base64(pair.chain), key: base64(pair.key) }, {}, 'base64');
    await until(async () => ((await look(tlsPort, [authority.pem])).authorized ? '' : 'not served yet'));
    assert.equal((await look(tlsPort)).protocol, 'TLSv1.3');
    const old = connect({
      port: tlsPort,
      host: '127.0.0.1',
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL@SECLEVEL=0',
    });
    const [error] = (await once(old, 'error')) as [Error];
    assert.match(error.message, /alert|version|reset/i);
    await closeAll();
  });

  it('orders a certificate from an authority, and carries a call with it', async () => {
    const port = await freePort();
    const pebble = await Pebble.start({ httpPort: port });
    const acme = { directory_url: pebble.directoryUrl, email: 'ops@plenum.test' };
    await start({ mode: 'letsencrypt', http_port: port, acme }, { NODE_EXTRA_CA_CERTS: pebble.caFile }, 'acme');
    const root = await pebble.root();
    await until(async () => ((await look(tlsPort, [root])).authorized ? '' : 'not served yet'), { timeoutMs: 30_000 });
    await call('letsencrypt', [await pebble.intermediate()]);
    await closeAll();
    await pebble.close();
  });
});

function leafOf(chain: string): string {
  return `${chain.split('-----END CERTIFICATE-----')[0]}-----END CERTIFICATE-----\n`;
}

/** The answer to a health question, headers first. */
async function fetchHead(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', servername: domain, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  socket.write(`GET / HTTP/1.1\r\nHost: ${domain}\r\nConnection: close\r\n\r\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
