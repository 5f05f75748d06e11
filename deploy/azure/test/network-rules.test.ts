import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { portTable, type PortRow, type PortSource } from '../../../src/azure/port-table.ts';
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
      listeners.push(listenOn(space, tcpPorts(on)));
    }
    for (const address of Object.values(from)) run('ip', '-n', outside, 'addr', 'add', `${address}/32`, 'dev', 'lo');
    await until(() => (listeners.every(({ stdout }) => (stdout?.readableLength ?? 0) > 0) ? '' : 'nobody listens yet'));
  });
  after(() => {
    for (const listener of listeners) listener.kill('SIGKILL');
    for (const space of [outside, ...Object.values(inside)]) spawnSync('ip', ['netns', 'del', space]);
  });

  for (const on of ['masters', 'media'] as const) {
    it(`let through what the port table says, and nothing else: ${on}`, () => {
      const ports = tcpPorts(on);
      for (const [source, address] of Object.entries(from)) {
        const open = answering({ space: outside, from: address, to: machine[on], ports });
        // Whatever is open for the internet is open for the load balancer, which is on it.
        const means = source === 'load-balancer-probe' ? ['load-balancer-probe', 'internet'] : [source];
        const wanted = ports.filter((port) =>
          portTable.some(
            (row) =>
              row.on === on &&
              row.inactive !== true &&
              row.protocol === 'Tcp' &&
              row.first <= port &&
              port <= row.last &&
              row.from.some((one) => means.includes(one)),
          ),
        );
        assert.deepEqual(open, wanted, `from ${source} to ${on}`);
      }
    });
  }
});

/** Both ends of each range, whoever may reach it. */
function tcpPorts(on: PortRow['on']): number[] {
  const table = portTable.flatMap((row) => (row.protocol === 'Tcp' ? [row.first, row.last] : []));
  return [...new Set([...table, ...others, on === 'media' ? 55_555 : 7881])].toSorted((one, other) => one - other);
}

function listenOn(space: string, ports: number[]): ChildProcess {
  const source = `
    const { createServer } = require('node:net');
    const ports = ${JSON.stringify(ports)};
    let left = ports.length;
    for (const port of ports) createServer((socket) => socket.on('error', () => {}).end('x')).listen(port, '0.0.0.0', () => { if (--left === 0) console.log('up'); });`;
  return spawn('ip', ['netns', 'exec', space, process.execPath, '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function answering(where: { space: string; from: string; to: string; ports: number[] }): number[] {
  const source = `
    const { connect } = require('node:net');
    const { from, to, ports } = ${JSON.stringify(where)};
    const ask = (port) => new Promise((done) => {
      const socket = connect({ host: to, port, localAddress: from });
      const end = (open) => { socket.destroy(); done(open ? [port] : []); };
      socket.on('connect', () => end(true)).on('error', () => end(false)).setTimeout(3000, () => end(false));
    });
    Promise.all(ports.map(ask)).then((found) => console.log(JSON.stringify(found.flat())));`;
  return JSON.parse(run('ip', 'netns', 'exec', where.space, process.execPath, '-e', source)) as number[];
}
