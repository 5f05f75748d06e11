import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import { signToken } from '../../src/protocol/token.ts';
import { TestCluster, type ClusterProcess } from '../kit/cluster.ts';
import { freePort, freePortRange } from '../kit/free-ports.ts';
import { LightSignal } from '../kit/light/light-signal.ts';
import { Scrape } from '../kit/metrics.ts';
import { Pebble } from '../kit/pebble.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

const domain = 'call.plenum.test';
const turnDomain = 'turn.plenum.test';
const refusedDomain = 'refused.plenum.test';
/** Short enough to see a renewal, after two thirds of it. */
const validityS = 15;

type Master = { node: ClusterProcess; tlsPort: number; httpPort: number; metricsPort: number };
type Shown = { isTrusted: boolean; names: string; serial: string };

describe('masters that order their certificate from an authority', () => {
  let cluster: TestCluster;
  let pebble: Pebble;
  let root: string;
  let folder: string;
  /** What stands before port 80 of all masters. */
  let door: TcpProxy;
  /** Takes connections and never says anything. */
  let silent: Server;
  let turnTlsPort: number;
  const masters: Master[] = [];
  let opensTo: () => number;
  /** How many connections each port got from the door. */
  const asked = new Map<number, number>();

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-acme-'));
    silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    opensTo = () => (silent.address() as AddressInfo).port;
    door = await TcpProxy.start(() => {
      const port = opensTo();
      asked.set(port, (asked.get(port) ?? 0) + 1);
      return port;
    });
    pebble = await Pebble.start({
      httpPort: Number(new URL(door.url).port),
      validityS,
      refusedDomains: [refusedDomain],
    });
    root = await pebble.root();
    process.env['NODE_EXTRA_CA_CERTS'] = pebble.caFile;
    turnTlsPort = await freePort();
    const relay = await freePortRange(20);
    cluster = await TestCluster.start({
      masters: 0,
      media: 1,
      config: {
        logging: { level: 'debug', json: true },
        tls: {
          mode: 'letsencrypt',
          domain,
          acme: { directory_url: pebble.directoryUrl },
          state_dir: path.join(folder, 'media'),
        },
        turn: {
          enabled: true,
          domain: turnDomain,
          address: '127.0.0.1',
          udp_port: await freePort(),
          tls_port: turnTlsPort,
          relay_range_start: relay,
          relay_range_end: relay + 19,
        },
      },
    });
  });
  after(async () => {
    delete process.env['NODE_EXTRA_CA_CERTS'];
    await cluster?.close();
    await pebble?.close();
    await door?.close();
    silent?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function addMaster(tls: Record<string, unknown> = {}): Promise<Master> {
    const [tlsPort, httpPort, metricsPort] = [await freePort(), await freePort(), await freePort()];
    const state_dir = path.join(folder, `master-${tlsPort}`);
    const node = await cluster.addMaster({
      prometheus_port: metricsPort,
      tls: { port: tlsPort, http_port: httpPort, state_dir, ...tls },
    });
    const master = { node, tlsPort, httpPort, metricsPort };
    masters.push(master);
    return master;
  }

  const running = (): Master[] => masters.filter(({ node }) => node.isRunning);

  /** Each connection to another master. */
  function openToMasters(): void {
    let turn = 0;
    opensTo = () => {
      turn += 1;
      return running()[turn % running().length]?.httpPort ?? 0;
    };
  }

  async function look(port: number, servername = domain): Promise<Shown> {
    const socket = connect({ port, host: '127.0.0.1', servername, ca: root, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const certificate = socket.getPeerX509Certificate();
    const shown = {
      isTrusted: socket.authorized,
      names: certificate?.subjectAltName ?? '',
      serial: certificate?.serialNumber ?? '',
    };
    socket.destroy();
    return shown;
  }

  async function waitForCertificate(master: Master, other = ''): Promise<Shown> {
    let shown: Shown | undefined;
    await until(
      async () => {
        shown = await look(master.tlsPort);
        return shown.isTrusted && shown.serial !== other ? '' : `${master.node.name} shows ${shown.names}`;
      },
      { timeoutMs: 30_000, intervalMs: 100 },
    );
    assert.ok(shown !== undefined);
    return shown;
  }

  /** Who holds the lease now, as it has told its log. */
  function leader(): Master {
    const found = running().filter(({ node }) =>
      node.log.lines.some(({ msg }) => msg === 'this node looks after the certificate'),
    );
    assert.equal(found.length, 1);
    return found[0] as Master;
  }

  it('lets another master finish when the one that ordered is killed in the middle of it', async () => {
    await Promise.all([addMaster(), addMaster()]);
    await until(() => ((asked.get(opensTo()) ?? 0) > 0 ? '' : 'the authority asks nobody'), { timeoutMs: 20_000 });
    const first = leader();
    await first.node.kill();
    openToMasters();
    const [second] = running();
    assert.ok(second !== undefined);
    const shown = await waitForCertificate(second);
    assert.equal(shown.names, `DNS:${domain}, DNS:${turnDomain}`);
    assert.notEqual(leader(), first);
  });

  it('serves one certificate for both names on every master and on the TURN servers, and keeps its key secret', async () => {
    const added = await addMaster();
    const shown = await waitForCertificate(added);
    for (const { tlsPort } of running()) assert.equal((await look(tlsPort)).isTrusted, true);
    await until(async () => {
      const onTurn = await look(turnTlsPort, turnDomain).catch((error: unknown) => String(error));
      return typeof onTurn !== 'string' && onTurn.isTrusted ? '' : `TURN shows ${JSON.stringify(onTurn)}`;
    });
    assert.equal(shown.names, `DNS:${domain}, DNS:${turnDomain}`);
    const stored = await cluster.redis.ask('HGET test:record:certificate value');
    assert.ok(stored.length > 500);
    assert.doesNotMatch(stored, /PRIVATE KEY|BEGIN CERTIFICATE/);
  });

  it('renews while people are connected, asked at either master, without dropping a socket', async () => {
    asked.clear();
    const sockets: LightSignal[] = [];
    const closed: number[] = [];
    const join = async (master: Master, identity: string): Promise<LightSignal> => {
      const { signal } = await LightSignal.open({
        url: `https://127.0.0.1:${master.tlsPort}`,
        token: await joinToken({ room: 'renewal', identity }),
        query: { protocol: '16', auto_subscribe: '1' },
        timeoutMs: 10_000,
        tls: { ca: root, servername: domain },
        onMessage: () => {},
        onClose: (code) => closed.push(code),
      });
      signal.start(5);
      return signal;
    };
    const before = await Promise.all(running().map(({ tlsPort }) => look(tlsPort)));
    for (const [index, master] of running().entries()) {
      for (let number = 0; number < 10; number += 1) sockets.push(await join(master, `early-${index}-${number}`));
    }
    let joins = 0;
    let isRenewed = false;
    const coming = (async () => {
      while (!isRenewed) {
        const master = running()[joins % 2];
        if (master !== undefined) sockets.push(await join(master, `late-${joins}`));
        joins += 1;
      }
    })();
    for (const [index, master] of running().entries()) await waitForCertificate(master, before[index]?.serial);
    isRenewed = true;
    await coming;
    assert.ok(joins > 0, 'nobody joined meanwhile');
    assert.deepEqual(closed, []);
    assert.ok(sockets.every((socket) => socket.open));
    for (const { httpPort } of running()) assert.ok((asked.get(httpPort) ?? 0) > 0, 'one master was never asked');
    await Promise.all(sockets.map((socket) => socket.close()));
  });

  it('keeps the old certificate when an order is refused, and says why in log, status and metrics', async () => {
    const before = await look(running()[0]?.tlsPort ?? 0);
    const last = await addMaster({ names: [refusedDomain] });
    for (const master of running()) if (master !== last) await master.node.stop();
    await until(
      async () => {
        const metrics = await Scrape.of(last.metricsPort);
        return metrics.sum('plenum_certificate_attempts_total', { outcome: 'order-failed' }) > 0
          ? ''
          : 'nothing failed';
      },
      { timeoutMs: 20_000 },
    );
    const line = last.node.log.lines.find(({ msg }) => msg.includes('the old one stays'));
    assert.equal(line?.['reason'], 'order-failed');
    assert.match(JSON.stringify(line['err']), /forbidden by policy.*refused\.plenum\.test/);
    const status = await cluster.redis.ask('HGET test:record:certificate-status value');
    assert.match(status, /"state":"failing".*order-failed.*refused\.plenum\.test/);
    const answer = await fetch(`${last.node.url}/admin/v1/certificate`, {
      headers: { Authorization: `Bearer ${nodeAdminToken()}` },
    });
    const told = (await answer.json()) as { state: string; reason: string; names: string[] };
    assert.equal(told.state, 'failing');
    assert.match(told.reason, /^order-failed: .*refused\.plenum\.test/);
    assert.deepEqual(told.names, [domain, turnDomain]);
    const after = await look(last.tlsPort);
    assert.equal(after.names, before.names);
    assert.equal(after.isTrusted, true);
  });
});

/** As the command line makes one. */
function nodeAdminToken(): string {
  const claims = { sub: 'ops', plenum: { nodeAdmin: true } };
  const { apiKey, apiSecret: secret } = devKey;
  return signToken(claims, { apiKey, secret, nowS: Date.now() / 1000, ttlS: 60 });
}
