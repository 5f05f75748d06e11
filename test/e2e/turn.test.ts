import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { ClientConfigSetting } from '@livekit/protocol';
import { TestBrowser } from '../kit/browser.ts';
import { BrowserPeer } from '../kit/browser-peer.ts';
import { childrenNamed, killChild } from '../kit/child-process.ts';
import { LightSignal } from '../kit/light/light-signal.ts';
import { mediaPaths, pictureGoesOn } from '../kit/media-paths.ts';
import { Scrape } from '../kit/metrics.ts';
import { TestNetwork } from '../kit/network.ts';
import { startNodeProcess, type ProcessNode, type RawConfig } from '../kit/node.ts';
import { TestAuthority, trustFlag } from '../kit/test-authority.ts';
import { joinToken } from '../kit/tokens.ts';
import { TurnClient, type TurnTarget } from '../kit/turn-client.ts';
import { until } from '../kit/until.ts';

const domain = 'call.plenum.test';
const turnDomain = 'turn.plenum.test';
const skip = TestNetwork.missing();

type CallOptions = { url?: string; rtcConfig?: { iceTransportPolicy: 'relay' } };

describe('a server that clients reach through a firewall', { skip: skip === '' ? false : skip }, () => {
  let network: TestNetwork;
  let node: ProcessNode;
  let browser: TestBrowser;
  let authority: TestAuthority;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-turn-test-'));
    network = TestNetwork.create();
    authority = await TestAuthority.create();
    const rules = `--host-resolver-rules=MAP *.plenum.test ${network.server}`;
    browser = await TestBrowser.start([rules, trustFlag(authority.pem)]);
  });
  beforeEach(() => network.block());
  after(async () => {
    await browser?.close();
    await node?.close();
    network?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** All on the ports that a real one has. */
  async function start(changes: RawConfig = {}): Promise<void> {
    await node?.close();
    const { chain, key } = await authority.issue([domain, turnDomain]);
    node = await startNodeProcess({
      prefix: network.prefix,
      host: network.server,
      config: {
        bind_addresses: ['0.0.0.0'],
        prometheus_port: 9090,
        tls: { mode: 'owncert', domain, certificate: chain, key, state_dir: path.join(folder, 'state') },
        ...changes,
        turn: { enabled: true, ...(changes['turn'] as RawConfig | undefined) },
        rtc: {
          node_ip: [network.server],
          bind_address: network.server,
          port_range_start: 50_000,
          port_range_end: 50_010,
          ...(changes['rtc'] as RawConfig | undefined),
        },
      },
    });
  }

  async function join(room: string, identity: string, { url, rtcConfig }: CallOptions): Promise<BrowserPeer> {
    const options = { url: url ?? `wss://${domain}`, room, identity };
    return rtcConfig === undefined
      ? BrowserPeer.join(browser, options)
      : new BrowserPeer(await browser.join({ ...options, connectOptions: { rtcConfig } }));
  }

  /** @returns milliseconds from the first word of the second participant to its first picture of the other */
  async function call(
    room: string,
    options: CallOptions = {},
  ): Promise<{ ana: BrowserPeer; ben: BrowserPeer; peers: BrowserPeer[]; timeToMediaMs: number }> {
    const ana = await join(room, 'ana', options);
    const track = await ana.publish('video');
    const startedMs = performance.now();
    const ben = await join(room, 'ben', options);
    await ben.waitForPicture(track);
    return { ana, ben, peers: [ana, ben], timeToMediaMs: performance.now() - startedMs };
  }

  async function waitForPaths(peers: BrowserPeer[], wanted: RegExp): Promise<void> {
    for (const peer of peers) {
      await until(async () => {
        const found = await mediaPaths(peer);
        return found.length > 0 && found.every((one) => wanted.test(one))
          ? ''
          : `${peer.identity} uses ${found.join()}`;
      });
    }
  }

  async function expectPaths(peers: BrowserPeer[], wanted: RegExp): Promise<void> {
    await waitForPaths(peers, wanted);
    for (const peer of peers) await peer.close();
  }

  it('carries a call over UDP, over TCP where UDP is blocked, and over TURN/TLS on 443 where that is blocked too', async (t) => {
    await start();
    const open = await call('open');
    await expectPaths(open.peers, /^(host|prflx|srflx) udp$/);
    network.block('meta l4proto udp');
    const tcp = await call('tcp');
    await expectPaths(tcp.peers, /^(host|prflx) tcp$/);
    network.block('meta l4proto udp', 'tcp dport 50000-59999');
    const tls = await call('tls');
    await expectPaths(tls.peers, /^relay tls$/);
    const times = [open, tcp, tls].map(({ timeToMediaMs }) => `${Math.round(timeToMediaMs)} ms`);
    t.diagnostic(`time to media: UDP ${times[0]}, ICE over TCP ${times[1]}, TURN over TLS ${times[2]}`);
  });

  it('relays over UDP for clients that want a relay', async () => {
    await start();
    // Signalling over plain HTTP, so that nothing can go over TLS.
    network.block('udp dport 50000-59999', 'tcp dport { 443, 50000-59999 }');
    const { peers } = await call('relay', { url: node.wsUrl, rtcConfig: { iceTransportPolicy: 'relay' } });
    await expectPaths(peers, /^relay udp$/);
    const metrics = await Scrape.of(9_090, network.server);
    assert.ok(metrics.sum('plenum_turn_allocations_total') >= 4);
    assert.equal(metrics.sum('plenum_turn_up'), 1);
  });

  it('refuses to relay to anything but the nodes that carry media, and nothing arrives there', async () => {
    const watched = [
      { name: 'loopback', address: '127.0.0.1' },
      { name: 'loopback2', address: '127.8.8.8' },
      { name: 'metadata', address: '169.254.169.254' },
      { name: 'wireserver', address: '168.63.129.16' },
      { name: 'linklocal', address: '169.254.7.7' },
      { name: 'private10', address: '10.99.0.1' },
      { name: 'private172', address: '172.31.9.9' },
      { name: 'private192', address: '192.168.77.1' },
      { name: 'internet', address: '198.51.100.7' },
    ];
    await start();
    network.watch(watched);
    const before = new Map(watched.map(({ name }) => [name, network.count(name)]));
    for (const { name, address } of watched) {
      network.sendFromInside(address, 9);
      assert.equal(network.count(name), (before.get(name) ?? 0) + 1, `what is sent to ${address} is not counted`);
    }
    const sent = new Map(watched.map(({ name }) => [name, network.count(name)]));
    const client = await TurnClient.open(await target('udp'));
    assert.equal((await client.allocate()).errorCode, 0);
    for (const [index, host] of [
      ...watched.map(({ address }) => address),
      '0.0.0.0',
      '224.0.0.1',
      '255.255.255.255',
    ].entries()) {
      assert.equal((await client.permit({ host, port: 80 })).errorCode, 403, host);
      assert.equal((await client.bindChannel(0x4000 + index, { host, port: 80 })).errorCode, 403, host);
      client.send({ host, port: 80 }, Buffer.from('stolen'));
      client.sendOnChannel(0x4000 + index, Buffer.from('stolen'));
    }
    const own = { host: network.server, port: 50_000 };
    assert.equal((await client.permit(own)).errorCode, 0);
    // The answer to this one says that all before it were worked on.
    assert.equal((await client.refresh(600)).errorCode, 0);
    for (const { name, address } of watched) assert.equal(network.count(name), sent.get(name), address);
    client.close();
  });

  it('takes credentials until they end, for their participant alone, and only so many relays for each', async () => {
    await start({ turn: { ttl_seconds: 10 } });
    const good = await target('udp');
    const clients: TurnClient[] = [];
    const allocate = async (changes: Partial<TurnTarget>): Promise<{ errorCode: number; client: TurnClient }> => {
      const client = await TurnClient.open({ ...good, ...changes });
      clients.push(client);
      return { errorCode: (await client.allocate()).errorCode, client };
    };
    const first = await allocate({});
    assert.equal(first.errorCode, 0);
    assert.equal((await allocate({ username: good.username.replace(/PA_.*/, 'PA_somebodyelse') })).errorCode, 401);
    assert.equal(
      (await allocate({ username: good.username.replace(/^\d+/, (end) => String(Number(end) + 3_600)) })).errorCode,
      401,
    );
    for (let count = 2; count <= 12; count += 1) assert.equal((await allocate({})).errorCode, 0, `relay ${count}`);
    assert.equal((await allocate({})).errorCode, 486);
    await until(() => (Date.now() / 1000 > Number(good.username.split(':')[0]) + 1 ? '' : 'still valid'), {
      timeoutMs: 15_000,
    });
    assert.equal((await allocate({})).errorCode, 401);
    assert.equal((await first.client.refresh(600)).errorCode, 0, 'a relay that is open goes on');
    for (const client of clients) client.close();
  });

  it('starts a TURN server that was killed again, later and later, and says so', async () => {
    await start();
    const said = (msg: string): Record<string, unknown>[] => node.log.lines.filter((line) => line.msg === msg);
    const isUp = async (wanted: 0 | 1): Promise<string> => {
      const up = (await Scrape.of(9_090, network.server)).sum('plenum_turn_up');
      return up === wanted ? '' : `plenum_turn_up is ${up}`;
    };
    const pids = new Set<number>();
    for (let kills = 1; kills <= 4; kills += 1) {
      await until(() => isUp(1), { timeoutMs: 20_000 });
      pids.add(await killChild(node.pid, 'turnserver'));
      await until(() => (said('the TURN server ended and is started again').length === kills ? '' : 'nobody noticed'));
    }
    // The fourth wait is two seconds.
    await until(() => isUp(0));
    assert.equal((await fetch(node.url)).status, 200, 'media without a relay is better than none');
    await until(() => isUp(1), { timeoutMs: 20_000 });
    pids.add((await childrenNamed(node.pid, 'turnserver'))[0] ?? 0);
    assert.equal(pids.size, 5);
    assert.deepEqual(
      said('the TURN server ended and is started again').map(({ failures, waitMs }) => [failures, waitMs]),
      [
        [1, 250],
        [2, 500],
        [3, 1_000],
        [4, 2_000],
      ],
    );
    assert.equal(said('the TURN server answers again').length, 4);
    assert.equal((await Scrape.of(9_090, network.server)).sum('plenum_turn_restarts_total'), 4);
  });

  it('brings a call over TURN back when the TURN server is killed', async (t) => {
    await start();
    network.block('meta l4proto udp', 'tcp dport 50000-59999');
    const { ana, ben, peers } = await call('killed');
    await waitForPaths(peers, /^relay tls$/);
    const before = (await Scrape.of(9_090, network.server)).sum('plenum_turn_allocations_total');
    await killChild(node.pid, 'turnserver');
    const killedMs = performance.now();
    await until(
      async () => {
        const now = (await Scrape.of(9_090, network.server)).sum('plenum_turn_allocations_total');
        return now > before ? '' : 'nobody has come back to the TURN server';
      },
      { timeoutMs: 45_000, intervalMs: 100 },
    );
    await pictureGoesOn(ana, ben);
    // Nobody had to wait until ICE consent expired.
    const why = node.log.lines.filter(({ msg }) => msg === 'leg failed').map(({ detail }) => detail);
    assert.ok(why.includes('the relay of the client is gone'), why.join());
    t.diagnostic(`media again ${Math.round(performance.now() - killedMs)} ms after the TURN server was killed`);
    await expectPaths(peers, /^relay tls$/);
  });

  it('leads TURN under a name of its own through the same port, encrypted up to the TURN server', async () => {
    await start({ turn: { domain: turnDomain } });
    network.block('meta l4proto udp', 'tcp dport 50000-59999');
    const { peers } = await call('own-name');
    await expectPaths(peers, /^relay tls$/);
  });

  it('takes TURN from a load balancer at which TLS has ended', async () => {
    await start({ tls: { mode: 'off' }, turn: { external_tls: true, domain: turnDomain } });
    network.block('meta l4proto udp', 'tcp dport { 443, 50000-59999 }');
    const { iceServers } = await joinResponse('ended-light');
    assert.deepEqual(
      iceServers.map(({ urls }) => urls),
      [[`turn:${network.server}:443?transport=udp`, `turns:${turnDomain}:443?transport=tcp`]],
    );
    const pair = await authority.issue([turnDomain]);
    const balancer = createTlsServer({ cert: pair.chain, key: pair.key }, (client) => {
      const server = connectTcp({ port: 5_349, host: network.server });
      client.on('error', () => server.destroy()).on('close', () => server.destroy());
      server.on('error', () => client.destroy()).on('close', () => client.destroy());
      client.pipe(server).pipe(client);
    });
    await once(balancer.listen(443, network.client), 'listening');
    const rules = `--host-resolver-rules=MAP ${turnDomain} ${network.client}`;
    const inside = browser;
    browser = await TestBrowser.start([rules, trustFlag(authority.pem)]);
    try {
      const { peers } = await call('ended', { url: node.wsUrl });
      await expectPaths(peers, /^relay tls$/);
    } finally {
      await browser.close();
      browser = inside;
      balancer.close();
    }
  });

  it('tells clients to relay everything when it is told so, over TLS alone', async () => {
    await start({ rtc: { force_relay: true } });
    const { iceServers, clientConfiguration } = await joinResponse('forced-light');
    assert.equal(clientConfiguration?.forceRelay, ClientConfigSetting.ENABLED);
    assert.deepEqual(
      iceServers.map(({ urls }) => urls),
      [[`turns:${domain}:443?transport=tcp`]],
    );
    const { peers } = await call('forced');
    await expectPaths(peers, /^relay tls$/);
  });

  async function joinResponse(room: string) {
    const { signal, first } = await LightSignal.open({
      url: node.url,
      token: await joinToken({ room, identity: 'light' }),
      query: { protocol: '16', auto_subscribe: '1' },
      timeoutMs: 10_000,
      onMessage: () => {},
      onClose: () => {},
    });
    await signal.close();
    assert.ok(first.case === 'join');
    return first.value;
  }

  /** TURN as the server offers it to a participant. */
  async function target(transport: 'udp' | 'tls'): Promise<TurnTarget> {
    const { iceServers } = await joinResponse(`target-${transport}`);
    const server = iceServers.find(({ username }) => username !== '');
    assert.ok(server !== undefined);
    const { username, credential } = server;
    const port = transport === 'udp' ? 443 : 5349;
    return { host: network.server, port, transport, username, credential };
  }
});
