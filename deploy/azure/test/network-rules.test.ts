import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { portTable, type PortRow, type PortSource, type Protocol } from '../../../src/azure/port-table.ts';
import { until } from '../../../test/kit/until.ts';
import { nftRules } from '../simulate/nft-rules.ts';
import { expand, goldenScenarios, parametersOf } from './scenarios.ts';

/** Where requests come from, with an address that stands for it. */
const from: Record<PortSource, string> = {
  internet: '198.51.100.9',
  'load-balancer-probe': '168.63.129.16',
  masters: '10.0.1.5',
  media: '10.0.0.5',
  bastion: '10.0.3.9',
};
/** The load balancer asks from an address that is on the internet as well; it is told apart by its own rule. */
const probe = from['load-balancer-probe'];
const machine = { masters: '10.0.1.4', media: '10.0.0.4' };
/** Beside those of the table, some that programs like to listen on. */
const others = [21, 23, 3000, 5432, 8080, 9229, 27_017, 49_999];

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: 'utf8', stdio: 'pipe' });

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  if (spawnSync('nft', ['--version']).error !== undefined) return 'nft is not installed';
  const made = spawnSync('ip', ['netns', 'add', 'plenum-may']);
  spawnSync('ip', ['netns', 'del', 'plenum-may']);
  return made.status === 0 ? false : 'network namespaces cannot be made here';
}

const skip = whyNot();

describe('the network rules of the template, as a kernel enforces them', { skip }, () => {
  const outside = 'plenum-outside';
  const inside: Record<PortRow['on'], string> = { masters: 'plenum-masters', media: 'plenum-media' };
  const listeners: ChildProcess[] = [];

  before(async () => {
    const { resources } = expand(parametersOf(goldenScenarios['production'] ?? ''));
    const groups = resources.filter(({ type }) => type.endsWith('/networkSecurityGroups'));
    run('ip', 'netns', 'add', outside);
    run('ip', '-n', outside, 'link', 'set', 'lo', 'up');
    for (const on of ['masters', 'media'] as const) {
      const space = inside[on];
      const [near, far] = [`pl-${on}-i`, `pl-${on}-o`];
      run('ip', 'netns', 'add', space);
      run('ip', 'link', 'add', near, 'netns', space, 'type', 'veth', 'peer', 'name', far, 'netns', outside);
      for (const [name, link] of [
        [space, near],
        [outside, far],
        [space, 'lo'],
      ] as const)
        run('ip', '-n', name, 'link', 'set', link, 'up');
      run('ip', '-n', space, 'addr', 'add', `${machine[on]}/32`, 'dev', near);
      run('ip', '-n', space, 'route', 'add', 'default', 'dev', near);
      run('ip', '-n', outside, 'route', 'add', `${machine[on]}/32`, 'dev', far);
      const group = groups.find(({ name }) => name.includes(on === 'masters' ? 'master' : 'media'));
      assert.ok(group !== undefined);
      const rules = nftRules(group, { loadBalancer: [probe], network: '10.0.0.0/16' });
      execFileSync('ip', ['netns', 'exec', space, 'nft', '-f', '-'], { input: rules, stdio: ['pipe', 'pipe', 'pipe'] });
      listeners.push(listenOn(space, { Tcp: portsOf(on, 'Tcp'), Udp: portsOf(on, 'Udp') }));
    }
    for (const address of Object.values(from)) run('ip', '-n', outside, 'addr', 'add', `${address}/32`, 'dev', 'lo');
    await until(() => (listeners.every(({ stdout }) => (stdout?.readableLength ?? 0) > 0) ? '' : 'nobody listens yet'));
  });
  after(() => {
    for (const listener of listeners) listener.kill('SIGKILL');
    for (const space of [outside, ...Object.values(inside)]) spawnSync('ip', ['netns', 'del', space]);
  });

  for (const on of ['masters', 'media'] as const) {
    for (const protocol of ['Tcp', 'Udp'] as const) {
      it(`let through what the port table says, and nothing else: ${protocol} to ${on}`, async () => {
        const ports = portsOf(on, protocol);
        const to = machine[on];
        const ask = async ([source, address]: [string, string]): Promise<[string, number[]]> => [
          source,
          await answering({ space: outside, from: address, to, protocol, ports }),
        ];
        for (const [source, open] of await Promise.all(Object.entries(from).map(ask))) {
          // Whatever is open for the internet is open for the load balancer, which is on it.
          const means = source === 'load-balancer-probe' ? ['load-balancer-probe', 'internet'] : [source];
          const isOpen = (port: number): boolean =>
            portTable.some(
              (row) =>
                row.on === on &&
                row.inactive !== true &&
                row.protocol === protocol &&
                row.first <= port &&
                port <= row.last &&
                row.from.some((one) => means.includes(one)),
            );
          assert.deepEqual(open, ports.filter(isOpen), `from ${source} to ${on}`);
        }
      });
    }
  }
});

/** Both ends of each range, whoever may reach it by whatever protocol, and some that nobody may reach. */
function portsOf(on: PortRow['on'], protocol: Protocol): number[] {
  const table = portTable.flatMap(({ first, last }) => [first, last]);
  const inside = protocol === 'Udp' ? [45_000, 55_555] : [55_555];
  return [...new Set([...table, ...others, ...(on === 'media' ? inside : [7881])])].toSorted(
    (one, other) => one - other,
  );
}

function listenOn(space: string, ports: Record<Protocol, number[]>): ChildProcess {
  const source = `
    const { createServer } = require('node:net');
    const { createSocket } = require('node:dgram');
    const { Tcp, Udp } = ${JSON.stringify(ports)};
    let left = Tcp.length + Udp.length;
    const up = () => { if (--left === 0) console.log('up'); };
    for (const port of Tcp) createServer((socket) => socket.on('error', () => {}).end('x')).listen(port, '0.0.0.0', up);
    for (const port of Udp) {
      const socket = createSocket('udp4', (message, { address, port: to }) => socket.send(message, to, address));
      socket.on('error', () => {}).bind(port, '0.0.0.0', up);
    }`;
  return spawn('ip', ['netns', 'exec', space, process.execPath, '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

type Question = { space: string; from: string; to: string; protocol: Protocol; ports: number[] };

async function answering(question: Question): Promise<number[]> {
  const source = `
    const { connect } = require('node:net');
    const { createSocket } = require('node:dgram');
    const { from, to, protocol, ports } = ${JSON.stringify(question)};
    const byTcp = (port) => new Promise((done) => {
      const socket = connect({ host: to, port, localAddress: from });
      const end = (open) => { socket.destroy(); done(open ? [port] : []); };
      socket.on('connect', () => end(true)).on('error', () => end(false)).setTimeout(3000, () => end(false));
    });
    // A refusal comes back as an error of a connected socket; silence would be a refusal as well.
    const byUdp = (port) => new Promise((done) => {
      const socket = createSocket('udp4');
      const end = (open) => { clearTimeout(late); clearInterval(again); socket.close(); done(open ? [port] : []); };
      const late = setTimeout(() => end(false), 3000);
      const ask = () => socket.send('?', () => {});
      const again = setInterval(ask, 300);
      socket.on('message', () => end(true)).on('error', () => end(false));
      socket.bind(0, from, () => socket.connect(port, to, ask));
    });
    const ask = protocol === 'Tcp' ? byTcp : byUdp;
    Promise.all(ports.map(ask)).then((found) => console.log(JSON.stringify(found.flat())));`;
  const args = ['netns', 'exec', question.space, process.execPath, '-e', source];
  const { stdout } = await promisify(execFile)('ip', args);
  return JSON.parse(stdout) as number[];
}
