import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestBrowser } from '../kit/browser.ts';
import { BrowserPeer } from '../kit/browser-peer.ts';
import { TestCluster, type ClusterProcess } from '../kit/cluster.ts';
import { ClusterNetwork } from '../kit/cluster-network.ts';
import { mediaPaths, pictureGoesOn } from '../kit/media-paths.ts';
import { LightSignal } from '../kit/light/light-signal.ts';
import { Scrape } from '../kit/metrics.ts';
import { TestAuthority, trustFlag } from '../kit/test-authority.ts';
import { joinToken } from '../kit/tokens.ts';
import { TurnClient } from '../kit/turn-client.ts';
import { until } from '../kit/until.ts';

const domain = 'call.plenum.test';
const turnDomain = 'turn.plenum.test';
const mediaPort = 50_000;
const complaint = ClusterNetwork.complaint();

describe('TURN servers of a cluster', { skip: complaint === '' ? false : complaint }, () => {
  let network: ClusterNetwork;
  let cluster: TestCluster;
  let browser: TestBrowser;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-turns-'));
    network = await ClusterNetwork.start();
    const authority = await TestAuthority.create();
    const { chain, key } = await authority.issue([domain, turnDomain]);
    cluster = await TestCluster.start({
      masters: 0,
      media: 0,
      network,
      config: {
        tls: { mode: 'owncert', domain, certificate: chain, key, http_port: 0 },
        turn: { enabled: true, domain: turnDomain },
      },
    });
    const state = (name: string) => ({ tls: { state_dir: path.join(folder, name) } });
    const rtc = { port_range_start: mediaPort, port_range_end: mediaPort + 1 };
    // The master orders what the TURN servers of the others wait for.
    await cluster.addMaster(state('master'));
    await Promise.all(['one', 'two'].map((name) => cluster.addMedia({ ...state(name), rtc })));
    const rules = `--host-resolver-rules=MAP *.plenum.test ${addressOf(cluster.masters[0])}`;
    browser = await TestBrowser.start([rules, trustFlag(authority.pem)]);
  });
  after(async () => {
    await browser?.close();
    await cluster?.close();
    await network?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function joinRoom(
    room: string,
  ): Promise<{ signal: LightSignal; ice: { urls: string[]; username: string; credential: string }[] }> {
    const { signal, first } = await LightSignal.open({
      url: cluster.url(0),
      token: await joinToken({ room, identity: 'light' }),
      query: { protocol: '16', auto_subscribe: '1' },
      timeoutMs: 10_000,
      onMessage: () => {},
      onClose: () => {},
    });
    signal.start(5);
    assert.ok(first.case === 'join');
    return { signal, ice: first.value.iceServers };
  }

  async function allocations(node: ClusterProcess): Promise<number> {
    return (await Scrape.of(node.metricsPort, addressOf(node))).sum('plenum_turn_allocations_total');
  }

  const other = (node: ClusterProcess): ClusterProcess => {
    const found = cluster.media.find((one) => one !== node);
    assert.ok(found !== undefined);
    return found;
  };

  it('are named by the node that hosts the room, take each other’s credentials, and relay to each other’s media', async () => {
    const { signal, ice } = await joinRoom('names');
    const host = cluster.hostOf('names');
    const [server] = ice;
    assert.ok(server !== undefined && ice.length === 1);
    assert.deepEqual(server.urls, [
      `turn:${addressOf(host)}:443?transport=udp`,
      `turns:${turnDomain}:443?transport=tcp`,
    ]);
    const { username, credential } = server;
    for (const node of cluster.media) {
      const target = { host: addressOf(node), port: 443, transport: 'udp', username, credential } as const;
      const client = await TurnClient.open(target);
      assert.equal((await client.allocate()).errorCode, 0);
      for (const peer of cluster.media) {
        // A node that has just come is known to coturn some seconds later.
        await until(
          async () => {
            const { errorCode } = await client.permit({ host: addressOf(peer), port: mediaPort });
            return errorCode === 0 ? '' : `${addressOf(node)} does not relay to ${addressOf(peer)}: ${errorCode}`;
          },
          { timeoutMs: 30_000, intervalMs: 250 },
        );
      }
      assert.equal((await client.permit({ host: network.address, port: 80 })).errorCode, 403);
      assert.equal((await client.permit({ host: addressOf(cluster.masters[0]), port: 443 })).errorCode, 403);
      client.close();
    }
    await signal.close();
  });

  it('carry a call through the port of a master, told apart by name, and another takes it over when one dies', async (t) => {
    // Browsers try to get there from every address of this machine. What Redis answers to such a port has to get through.
    const outside = `ip saddr != { 127.0.0.0/8, ${cluster.nodes.map(addressOf).join(', ')} }`;
    const blocked = [
      `${outside} meta l4proto udp drop`,
      `${outside} tcp dport ${mediaPort}-${mediaPort + 1} tcp flags syn / syn,ack drop`,
    ];
    for (const node of cluster.media) rules(node, ...blocked);
    const { signal } = await joinRoom('relayed');
    const host = cluster.hostOf('relayed');
    const relay = other(host);
    // The master has to lead them to the node that does not carry them.
    rules(host, ...blocked, 'tcp dport 5349 reject with tcp reset');
    const url = `wss://${domain}`;
    const before = [await allocations(host), await allocations(relay)];
    const ana = await BrowserPeer.join(browser, { url, room: 'relayed', identity: 'ana' });
    const track = await ana.publish('video');
    const ben = await BrowserPeer.join(browser, { url, room: 'relayed', identity: 'ben' });
    await ben.waitForPicture(track);
    for (const peer of [ana, ben])
      await until(async () => {
        const found = await mediaPaths(peer);
        return found.length > 0 && found.every((one) => one === 'relay tls')
          ? ''
          : `${peer.identity} uses ${found.join()}`;
      });
    assert.equal(await allocations(host), before[0]);
    assert.ok((await allocations(relay)) >= (before[1] ?? 0) + 4);

    rules(host, ...blocked);
    const killedMs = performance.now();
    await relay.kill();
    await until(async () => ((await allocations(host)) > (before[0] ?? 0) ? '' : 'nobody comes to the other node'), {
      timeoutMs: 60_000,
      intervalMs: 100,
    });
    await pictureGoesOn(ana, ben);
    // Nobody had to wait until ICE consent expired.
    const told = host.log.lines.find(({ detail }) => detail === 'the relay of the client is gone');
    assert.ok(told !== undefined);
    t.diagnostic(`media again ${Math.round(performance.now() - killedMs)} ms after the node with the relay was killed`);
    const lost = cluster.masters.flatMap(({ log }) => log.lines.filter(({ state }) => state === 'LOST'));
    for (const { time } of lost) assert.ok(Number(told.time) < Number(time), 'the lease of the node was waited for');
    assert.equal(cluster.hostOf('relayed'), host);
    for (const peer of [ana, ben]) await peer.close();
    await signal.close();
  });
});

function addressOf(node: ClusterProcess | undefined): string {
  return node?.host?.address ?? '';
}

/** What is not taken from outside from now on, in place of what was not before. */
function rules(node: ClusterProcess, ...lines: string[]): void {
  const script = [
    'add table inet edge',
    'flush table inet edge',
    'add chain inet edge in { type filter hook input priority 0; }',
    ...lines.map((line) => `add rule inet edge in ${line}`),
  ].join('\n');
  const [program, args] = node.host?.command('nft', [script]) ?? ['false', []];
  execFileSync(program, args);
}
