/** Hosts of a cluster as network namespaces on one bridge, so that a test can break what lies between machines. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a host cannot reach and what cannot reach it; without anything: the whole network. */
export type Cut = { addresses?: readonly string[]; tcpPort?: number };

/** One machine: whatever is started in its namespace has its address only. */
export class NetworkHost {
  readonly namespace: string;
  readonly address: string;

  constructor(namespace: string, address: string) {
    this.namespace = namespace;
    this.address = address;
  }

  /** How a program is started there; its process id is that of the program itself. */
  command(program: string, args: string[]): [program: string, args: string[]] {
    return ['ip', ['netns', 'exec', this.namespace, program, ...args]];
  }

  /** From now on this does not pass, in neither direction, and nobody is told. */
  async cut(what: Cut = {}): Promise<void> {
    const { addresses = [], tcpPort } = what;
    const everything = addresses.length === 0 && tcpPort === undefined;
    await this.#nft(
      'add table inet cut',
      'flush table inet cut',
      'add chain inet cut in { type filter hook input priority 0; }',
      'add chain inet cut out { type filter hook output priority 0; }',
      ...(everything ? ['add rule inet cut in iifname "eth0" drop', 'add rule inet cut out oifname "eth0" drop'] : []),
      ...addresses.flatMap((address) => [
        `add rule inet cut in ip saddr ${address} drop`,
        `add rule inet cut out ip daddr ${address} drop`,
      ]),
      ...(tcpPort === undefined
        ? []
        : [`add rule inet cut in tcp sport ${tcpPort} drop`, `add rule inet cut out tcp dport ${tcpPort} drop`]),
    );
  }

  async heal(): Promise<void> {
    await this.#nft('add table inet cut', 'delete table inet cut');
  }

  async #nft(...lines: string[]): Promise<void> {
    const [program, args] = this.command('nft', [lines.join('\n')]);
    await run(program, args);
  }
}

export class ClusterNetwork {
  /** Of the machine that runs the test, as the hosts see it. */
  readonly address: string;
  readonly hosts: NetworkHost[] = [];
  readonly #name: string;
  readonly #prefix: string;

  /** Why there can be no such network here; empty when there can. */
  static complaint(): string {
    for (const program of ['ip', 'nft']) {
      if (spawnSync(program, ['-V']).error !== undefined) return `${program} is not installed`;
    }
    const name = `plt${process.pid}`;
    const { status, stderr } = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' });
    if (status !== 0) return `network namespaces need root: ${stderr.trim()}`;
    const rules = spawnSync('ip', ['netns', 'exec', name, 'nft', 'add table inet probe'], { encoding: 'utf8' });
    spawnSync('ip', ['netns', 'delete', name]);
    return rules.status === 0 ? '' : `nftables does not work: ${rules.stderr.trim()}`;
  }

  static async start(): Promise<ClusterNetwork> {
    await removeLeftovers();
    // Another run on this machine has another one.
    const third = process.pid % 250;
    const network = new ClusterNetwork(`pl${process.pid}`, `10.213.${third}`);
    try {
      await run('ip', ['link', 'add', network.#name, 'type', 'bridge']);
      await run('ip', ['address', 'add', `${network.address}/24`, 'dev', network.#name]);
      await run('ip', ['link', 'set', network.#name, 'up']);
    } catch (error) {
      await network.close();
      throw error;
    }
    return network;
  }

  private constructor(name: string, prefix: string) {
    this.#name = name;
    this.#prefix = prefix;
    this.address = `${prefix}.1`;
  }

  async addHost(): Promise<NetworkHost> {
    const number = this.hosts.length + 2;
    const host = new NetworkHost(`${this.#name}n${number}`, `${this.#prefix}.${number}`);
    const [outside, inside] = [`${this.#name}v${number}`, 'eth0'];
    this.hosts.push(host);
    await run('ip', ['netns', 'add', host.namespace]);
    await run('ip', ['link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', host.namespace]);
    await run('ip', ['link', 'set', outside, 'master', this.#name, 'up']);
    await run('ip', ['-n', host.namespace, 'address', 'add', `${host.address}/24`, 'dev', inside]);
    for (const device of ['lo', inside]) await run('ip', ['-n', host.namespace, 'link', 'set', device, 'up']);
    return host;
  }

  /** Whatever still runs in a namespace keeps it alive, but without a name or a way out. */
  async close(): Promise<void> {
    for (const { namespace } of this.hosts.splice(0)) {
      await run('ip', ['netns', 'delete', namespace]).catch(() => undefined);
    }
    await run('ip', ['link', 'delete', this.#name]).catch(() => undefined);
  }
}

/** What tests that were killed could not remove: names tell whose they are. */
async function removeLeftovers(): Promise<void> {
  const isLeft = (name: string): boolean => {
    const [, pid] = /^plt?(\d+)(?:n\d+)?$/.exec(name) ?? [];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  const list = async (...args: string[]): Promise<string[]> => {
    const { stdout } = await run('ip', ['-json', ...args]);
    const found = JSON.parse(stdout === '' ? '[]' : stdout) as { name?: string; ifname?: string }[];
    return found.map(({ name, ifname }) => name ?? ifname ?? '').filter(isLeft);
  };
  for (const name of await list('netns', 'list')) await run('ip', ['netns', 'delete', name]).catch(() => undefined);
  for (const name of await list('link', 'show', 'type', 'bridge')) {
    await run('ip', ['link', 'delete', name]).catch(() => undefined);
  }
}
