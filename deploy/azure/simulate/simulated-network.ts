/** The virtual network of a simulation: loopback addresses without rules, or namespaces with those of the template. */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import type { ExpandedResource } from '../expand/expand-template.ts';
import { loopback, mustBeFree } from './loopback-addresses.ts';
import { nftRules } from './nft-rules.ts';

export type SimulatedNetwork = {
  /** Where Azure's services are, for every machine. */
  readonly host: string;
  /** Of the load balancer, on its outside. */
  readonly front: string;
  /** From which the load balancer asks; undefined where that makes no difference. */
  readonly probeAddress: string | undefined;
  /** What an address of the template is here. */
  at: (address: string) => string;
  /** A machine is there. @returns how its programs are started */
  attach: (address: string, rules: ExpandedResource) => Promise<(command: string[]) => string[]>;
  /** It is not there any more. */
  detach: (address: string) => Promise<void>;
};

export async function loopbackNetwork(): Promise<SimulatedNetwork> {
  await mustBeFree();
  return {
    host: '127.0.0.1',
    front: '127.0.20.1',
    probeAddress: undefined,
    at: loopback,
    attach: () => Promise.resolve((command) => command),
    detach: () => Promise.resolve(),
  };
}

const run = promisify(execFile);
const inside = 'PLENUM_SIMULATION_NAMESPACE';
const bridge = 'vnet';
const network = '10.0.0.0/16';
/** On the internet, as far as machines of the network can tell. */
const host = '198.18.0.1';
const front = '203.0.113.10';
/** Azure's own, which the tag `AzureLoadBalancer` stands for. */
const probeAddress = '168.63.129.16';

/** Why there can be no namespaces here; empty when there can. */
export function namespaceComplaint(): string {
  for (const program of ['ip', 'nft', 'unshare']) {
    if (spawnSync(program, ['--version']).error !== undefined) return `${program} is not installed`;
  }
  const { status, stderr } = spawnSync('unshare', ['--net', '--mount', 'nft', 'list', 'ruleset'], { encoding: 'utf8' });
  return status === 0 ? '' : `network namespaces need root: ${stderr.trim()}`;
}

/** Whether this process is where `insideNamespace` starts programs. */
export function isInsideNamespace(): boolean {
  return process.env[inside] === '1';
}

/** How a program is started whose network, with all machines of it, ends with it and touches nothing of this machine. */
export function insideNamespace(command: string[]): string[] {
  const prepare = 'mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && exec env "$@"';
  return ['unshare', '--net', '--mount', 'sh', '-c', prepare, 'sh', `${inside}=1`, ...command];
}

/** Machines as namespaces on one bridge, with the addresses and the rules of the template; outside is where this runs. */
export async function namespaceNetwork(): Promise<SimulatedNetwork> {
  await ip('link', 'set', 'lo', 'up');
  for (const address of [front, probeAddress]) await ip('address', 'add', `${address}/32`, 'dev', 'lo');
  await ip('link', 'add', bridge, 'type', 'bridge');
  await ip('address', 'add', `${host}/32`, 'dev', bridge);
  await ip('link', 'set', bridge, 'up');
  await ip('route', 'add', network, 'dev', bridge, 'src', host);
  return { host, front, probeAddress, at: (address) => address, attach, detach };
}

async function attach(address: string, rules: ExpandedResource): Promise<(command: string[]) => string[]> {
  const outside = `v${address.split('.').slice(2).join('-')}`;
  await ip('netns', 'add', address);
  await ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', address);
  await ip('link', 'set', outside, 'master', bridge, 'up');
  await ip('-n', address, 'address', 'add', `${address}/16`, 'dev', 'eth0');
  for (const device of ['lo', 'eth0']) await ip('-n', address, 'link', 'set', device, 'up');
  await ip('-n', address, 'route', 'add', 'default', 'via', host, 'dev', 'eth0', 'onlink');
  const text = nftRules(rules, { loadBalancer: [probeAddress], network });
  await ip('netns', 'exec', address, 'nft', text);
  return (command) => ['ip', 'netns', 'exec', address, ...command];
}

async function detach(address: string): Promise<void> {
  await ip('netns', 'delete', address);
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args);
}
