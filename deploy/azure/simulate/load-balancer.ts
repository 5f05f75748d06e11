/** The load balancer of the template as forwarders: its rules, its pools, its probes. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { askHealth } from './ask-health.ts';
import type { ExpandedResource } from '../expand/expand-template.ts';
import { isObject, textOf, type Json } from '../expand/functions.ts';

export type BalancerRule = {
  name: string;
  frontendPort: number;
  backendPort: number;
  pool: string;
  /** It comes from where probes come from: not one of the template. */
  isProbe?: boolean;
};
export type BalancerPlan = {
  rules: BalancerRule[];
  probe: { port: number; path: string; intervalMs: number; threshold: number };
};

function lastPart(value: Json | undefined): string {
  return isObject(value) ? (textOf(value['id']).split('/').at(-1) ?? '') : '';
}

function entries(resource: ExpandedResource, kind: string): { name: string; properties: { [key: string]: Json } }[] {
  const properties = resource.body['properties'];
  const list = isObject(properties) ? properties[kind] : [];
  return (Array.isArray(list) ? list : []).filter(isObject).map((entry) => ({
    name: textOf(entry['name']),
    properties: isObject(entry['properties']) ? entry['properties'] : {},
  }));
}

export function planOf(resource: ExpandedResource): BalancerPlan {
  const rules = entries(resource, 'loadBalancingRules').map(({ name, properties }) => ({
    name,
    frontendPort: Number(properties['frontendPort']),
    backendPort: Number(properties['backendPort']),
    pool: lastPart(properties['backendAddressPool']),
  }));
  const [probe] = entries(resource, 'probes');
  return {
    rules,
    probe: {
      port: Number(probe?.properties['port']),
      path: textOf(probe?.properties['requestPath']),
      intervalMs: Number(probe?.properties['intervalInSeconds']) * 1_000,
      threshold: Number(probe?.properties['probeThreshold']),
    },
  };
}

export type LoadBalancerOptions = {
  plan: BalancerPlan;
  front: string;
  /** From which it asks, where that makes a difference. */
  probeAddress: string | undefined;
  /** Addresses in a pool, now. */
  backends: (pool: string) => string[];
};

export class LoadBalancer {
  readonly #options: LoadBalancerOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  /** Probes in a row that a backend has failed; those at the threshold get nothing new. */
  readonly #failures = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #next = 0;

  static async start(options: LoadBalancerOptions): Promise<LoadBalancer> {
    const balancer = new LoadBalancer(options);
    await balancer.#listen();
    return balancer;
  }

  private constructor(options: LoadBalancerOptions) {
    this.#options = options;
  }

  isHealthy(address: string): boolean {
    return (this.#failures.get(address) ?? this.#options.plan.probe.threshold) < this.#options.plan.probe.threshold;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await Promise.all(
      this.#servers.map(async (server) => {
        server.close();
        await once(server, 'close');
      }),
    );
  }

  async #listen(): Promise<void> {
    const { plan, front } = this.#options;
    for (const rule of plan.rules) {
      const server = createServer((socket) => this.#forward(socket, rule));
      server.listen(rule.frontendPort, front);
      await once(server, 'listening');
      this.#servers.push(server);
    }
    this.#timer = setInterval(() => void this.#probeAll(), plan.probe.intervalMs);
    await this.#probeAll();
  }

  async #probeAll(): Promise<void> {
    const { plan, backends } = this.#options;
    const pools = new Set(plan.rules.map(({ pool }) => pool));
    const addresses = [...pools].flatMap((pool) => backends(pool));
    await Promise.all(addresses.map((address) => this.#probe(address)));
  }

  async #probe(address: string): Promise<void> {
    const { port, path, intervalMs, threshold } = this.#options.plan.probe;
    const status = await askHealth({ address, port, path, from: this.#options.probeAddress, deadlineMs: intervalMs });
    const failed = this.#failures.get(address) ?? threshold;
    this.#failures.set(address, status === 200 ? 0 : failed + 1);
  }

  #forward(socket: Socket, rule: BalancerRule): void {
    const healthy = this.#options.backends(rule.pool).filter((address) => this.isHealthy(address));
    this.#next += 1;
    const address = healthy[this.#next % Math.max(1, healthy.length)];
    if (address === undefined) {
      socket.destroy();
      return;
    }
    const from = rule.isProbe === true ? this.#options.probeAddress : undefined;
    const backend = connect({
      host: address,
      port: rule.backendPort,
      ...(from === undefined ? {} : { localAddress: from }),
    });
    for (const end of [socket, backend]) {
      this.#sockets.add(end);
      end.on('error', () => undefined);
      end.on('close', () => this.#sockets.delete(end));
    }
    socket.pipe(backend).pipe(socket);
    socket.on('close', () => backend.destroy());
    backend.on('close', () => socket.destroy());
  }
}
