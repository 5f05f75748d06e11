import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { createAdminApi } from '../admin/admin-api.ts';
import { goals, instance } from '../capacity/capacity-fixtures.ts';
import { MemoryCluster, type TestMember } from '../cluster/cluster-test-kit.ts';
import { configSchema, type Config } from '../config/options.ts';
import type { NodeAdmin } from '../drain/node-admin.ts';
import { startGateway, type TestGateway } from '../gateway/gateway-test-kit.ts';
import { createLog } from '../observe/log.ts';
import { signToken } from '../protocol/token.ts';
import { CapacityController } from '../scaling/capacity-controller.ts';
import type { CapacityProvider } from '../scaling/capacity-provider.ts';
import { askCapacityReport, serveCapacityReports } from '../scaling/capacity-reports.ts';
import { capacityCommand } from './capacity.ts';

const log = createLog({ level: 'silent', json: true });
const key = { apiKey: 'devkey', secret: 'secret' };
const unasked = (): Promise<never> => Promise.reject(new Error('not asked'));
const nodes: NodeAdmin = { list: unasked, get: unasked, step: unasked };

/** One machine, and more on their way as soon as they are asked for. */
class Machines implements CapacityProvider {
  added = 0;
  readonly #first = { ...instance('media'), machineId: 'test' };

  look(): ReturnType<CapacityProvider['look']> {
    return Promise.resolve({ instances: [this.#first], capacity: 1 + this.added });
  }

  add(count: number): Promise<void> {
    this.added += count;
    return Promise.resolve();
  }

  delete = unasked;
  protect = unasked;
}

describe('plenum capacity and the admin API', () => {
  let cluster: MemoryCluster;
  let asked: TestMember;
  let controller: CapacityController;
  let gateway: TestGateway;

  beforeEach(async () => {
    cluster = new MemoryCluster();
    await cluster.join('media', 'media', { rooms: 3, participants: 9, cpu: 0.9 });
    const leads = await cluster.join('leader', 'master');
    asked = await cluster.join('asked', 'master');
    controller = new CapacityController({
      holder: leads.nodeId,
      store: leads.store,
      provider: new Machines(),
      goals: () => goals,
      reaches: () => Promise.resolve(false),
      log,
    });
    const { bus } = leads.store;
    await serveCapacityReports({ bus, provider: 'azure', report: () => controller.report() });
    // Who is asked does not lead, and asks who does.
    await serveCapacityReports({ bus: asked.store.bus, provider: 'azure', report: () => undefined });
    gateway = await gatewayWith(() => askCapacityReport(asked.store.bus));
  });
  afterEach(async () => {
    await gateway[Symbol.asyncDispose]();
    await controller.close();
    cluster.close();
  });

  const gatewayWith = (capacity?: () => Promise<object>): Promise<TestGateway> =>
    startGateway({ admin: createAdminApi({ nodes, config: configSchema.parse({}), log, capacity }) });

  async function run(args: string[], env: Record<string, string> = {}, config?: Config): Promise<string> {
    let text = '';
    const out = { write: (more: string) => void (text += more) };
    const command = capacityCommand(env, out, () => config ?? assert.fail('no configuration is read'));
    await command.exitOverride().parseAsync(['status', ...args], { from: 'user' });
    return text;
  }

  const server = (): Record<string, string> => ({
    LIVEKIT_URL: gateway.http,
    LIVEKIT_API_KEY: key.apiKey,
    LIVEKIT_API_SECRET: key.secret,
  });

  async function ask(claims?: object, method = 'GET'): Promise<[number, unknown]> {
    const token = signToken({ ...claims }, { ...key, nowS: Date.now() / 1_000, ttlS: 60 });
    const headers: Record<string, string> = claims === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(`${gateway.http}/admin/v1/capacity`, { method, headers });
    return [response.status, await response.json()];
  }

  it('tell from any master what the leading one sees, has decided, and why', async () => {
    await controller.tick();
    const shown = await run([], server());
    assert.match(shown, /^ND_leader leads, provider azure\. Wanted: 2 media nodes, because of cpu\.$/m);
    assert.match(shown, /^cpu +0\.9 +0\.5 +2$/m);
    assert.match(shown, /^test +1 +serving +9300/m);
    assert.match(shown, /^0 s +add 1 media nodes +cpu 0\.9 needs 2 nodes/m);
    const report = JSON.parse(await run(['--json'], server())) as { leader: string; decisions: unknown[] };
    assert.equal(report.leader, 'ND_leader');
    assert.equal(report.decisions.length, 1);
  });

  it('find address and key in the configuration of a master', async () => {
    await controller.tick();
    const { hostname, port } = new URL(gateway.http);
    const config = configSchema.parse({ bind_addresses: [hostname], port: Number(port), keys: { devkey: 'secret' } });
    assert.match(await run(['--config', 'plenum.yaml'], {}, config), /leads, provider azure/);
    const keyless = { ...config, keys: {} };
    await assert.rejects(run(['--config', 'plenum.yaml'], {}, keyless), { reason: 'bad-config', message: /`keys`/ });
  });

  it('are for those who may see nodes, and only to read', async () => {
    await controller.tick();
    assert.equal((await ask({ plenum: { nodeAdmin: true } }))[0], 200);
    assert.equal((await ask())[0], 401);
    assert.equal((await ask({ video: { roomAdmin: true } }))[0], 403);
    assert.equal((await ask({ plenum: { nodeAdmin: true } }, 'POST'))[0], 405);
  });

  it('say so when no master leads, and when nobody looks after capacity', async () => {
    await assert.rejects(run([], server()), { reason: 'nobody-leads', code: 'unavailable' });
    await gateway[Symbol.asyncDispose]();
    gateway = await gatewayWith();
    await assert.rejects(run([], server()), { reason: 'no-such-path', code: 'not_found' });
  });
});
