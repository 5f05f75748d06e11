/**
 * A second machine on this one: a network namespace joined with ours by a cable, with firewall rules and addresses of its
 * own and no way out.
 */
import { execFileSync } from 'node:child_process';

/** Addresses that must never be reached through us: each has a counter of what is sent to it. */
export type Watched = { name: string; address: string };

export class TestNetwork {
  /** Of the machine inside. */
  readonly server: string;
  /** Ours, on the same cable. */
  readonly client: string;
  readonly #namespace: string;

  /** Why there can be none here; empty when there can. */
  static missing(): string {
    const name = `plenum-probe-${process.pid}`;
    try {
      run('ip', 'netns', 'add', name);
      run('ip', 'netns', 'exec', name, 'nft', 'add', 'table', 'inet', 'probe');
      return '';
    } catch (error) {
      return `no network namespaces with nftables here: ${error instanceof Error ? error.message.split('\n')[0] : ''}`;
    } finally {
      try {
        run('ip', 'netns', 'del', name);
      } catch {
        // It was never made.
      }
    }
  }

  static create(): TestNetwork {
    const net = `10.203.${process.pid % 250}`;
    const network = new TestNetwork(`plenum-${process.pid}`, `${net}.1`, `${net}.2`);
    network.#build();
    return network;
  }

  private constructor(namespace: string, server: string, client: string) {
    this.#namespace = namespace;
    this.server = server;
    this.client = client;
  }

  /** Put before a command, it runs on the machine inside. */
  get prefix(): string[] {
    return ['ip', 'netns', 'exec', this.#namespace];
  }

  /**
   * Drops what we send to it, e.g. `udp dport 50000-59999`, whichever of our addresses we send it from: browsers try all
   * of them, and a question that arrives keeps ICE alive though its answer does not. Replaces what was blocked before.
   */
  block(...matches: string[]): void {
    this.#nft('flush', 'chain', 'inet', 'test', 'input');
    for (const match of matches) {
      this.#nft('add', 'rule', 'inet', 'test', 'input', `iifname != lo ${match} drop`);
    }
  }

  /** Gives the machine inside these addresses and counts what it sends to them. */
  watch(watched: Watched[]): void {
    for (const { name, address } of watched) {
      if (!address.startsWith('127.')) this.#inside('ip', 'addr', 'add', `${address}/32`, 'dev', 'lo');
      this.#nft('add', 'counter', 'inet', 'test', name);
      this.#nft('add', 'rule', 'inet', 'test', 'output', `ip daddr ${address} meta l4proto udp counter name ${name}`);
    }
  }

  /** UDP packets sent to a watched address so far. */
  count(name: string): number {
    const text = this.#nft('list', 'counter', 'inet', 'test', name);
    return Number(/packets (\d+)/.exec(text)?.[1] ?? Number.NaN);
  }

  /** Sends one UDP packet from the machine inside. */
  sendFromInside(address: string, port: number): void {
    this.#inside('bash', '-c', `echo -n x > /dev/udp/${address}/${port}`);
  }

  close(): void {
    run('ip', 'netns', 'del', this.#namespace);
  }

  #build(): void {
    const [ours, theirs] = [`pl${process.pid % 100_000}a`, `pl${process.pid % 100_000}b`];
    run('ip', 'netns', 'add', this.#namespace);
    run('ip', 'link', 'add', ours, 'type', 'veth', 'peer', 'name', theirs, 'netns', this.#namespace);
    run('ip', 'addr', 'add', `${this.client}/24`, 'dev', ours);
    run('ip', 'link', 'set', ours, 'up');
    this.#inside('ip', 'link', 'set', 'lo', 'up');
    this.#inside('ip', 'addr', 'add', `${this.server}/24`, 'dev', theirs);
    this.#inside('ip', 'link', 'set', theirs, 'up');
    this.#nft('add', 'table', 'inet', 'test');
    this.#nft('add', 'chain', 'inet', 'test', 'input', '{ type filter hook input priority 0 ; }');
    this.#nft('add', 'chain', 'inet', 'test', 'output', '{ type filter hook output priority 0 ; }');
  }

  #nft(...args: string[]): string {
    return this.#inside('nft', ...args);
  }

  #inside(...command: string[]): string {
    const [program = '', ...args] = [...this.prefix, ...command];
    return run(program, ...args);
  }
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
