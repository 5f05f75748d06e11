import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryStoreServer } from '../cluster/memory-store.ts';
import { createLog } from '../observe/log.ts';
import { releaseEnv } from './scale-set-release.ts';
import { upgradeMaster, type MasterUpgradeOptions } from './upgrade-master.ts';

const old = { url: 'https://example.com/old', sha256: 'aa'.repeat(32) };
const fresh = { url: 'https://example.com/new', sha256: 'bb'.repeat(32) };

/** A master on which only some releases run. */
function master(runs: (env: string) => boolean, server = new MemoryStoreServer()) {
  const state = { env: releaseEnv(old), running: releaseEnv(old), restarts: 0 };
  const options: MasterUpgradeOptions = {
    release: fresh,
    holder: 'master-1',
    leases: server.connect().leases,
    heartbeatMs: 500,
    readRelease: () => Promise.resolve(state.env),
    writeRelease: (env) => {
      state.env = env;
      return Promise.resolve();
    },
    bootstrap: () => Promise.resolve(),
    restart: () => {
      state.running = state.env;
      state.restarts += 1;
      return Promise.resolve();
    },
    isHealthy: () => Promise.resolve(runs(state.running)),
    log: createLog({ level: 'error', json: true }),
    healthyWithinMs: 50,
  };
  return { state, options };
}

describe('the upgrade of a master', () => {
  it('switches to the release, and is done when it answers', async () => {
    const { state, options } = master(() => true);
    await upgradeMaster(options);
    assert.equal(state.running, releaseEnv(fresh));
    await upgradeMaster(options);
    assert.equal(state.restarts, 1);
  });

  it('goes back when the new release does not answer, and says why', async () => {
    const quiet = createLog({ level: 'error', json: true });
    quiet.level = 'silent';
    const { state, options } = master((env) => env === releaseEnv(old));
    await assert.rejects(upgradeMaster({ ...options, log: quiet }), { reason: 'upgrade-failed' });
    assert.equal(state.running, releaseEnv(old));
    assert.equal(state.env, releaseEnv(old));
  });

  it('is refused while another master is away for it', async () => {
    const server = new MemoryStoreServer();
    const first = master(() => true, server);
    const second = master(() => true, server);
    const arrived = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const bootstrap = async (): Promise<void> => {
      arrived.resolve();
      await goOn.promise;
    };
    const running = upgradeMaster({ ...first.options, bootstrap });
    await arrived.promise;
    await assert.rejects(upgradeMaster({ ...second.options, holder: 'master-2' }), { reason: 'upgrade-under-way' });
    goOn.resolve();
    await running;
    await upgradeMaster({ ...second.options, holder: 'master-2' });
  });
});
