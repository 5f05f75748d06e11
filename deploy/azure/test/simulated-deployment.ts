/** A simulated deployment for a test file: one release, one cluster, ended together. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeRelease } from '../../../scripts/release.ts';
import { findWorker } from '../../../test/kit/light/build.ts';
import type { Json } from '../expand/functions.ts';
import { loopbackNetwork } from '../simulate/simulated-network.ts';
import { Simulation, type SimulationOptions } from '../simulate/simulation.ts';

const readyMs = 150_000;

export type SimulatedDeployment = { simulation: Simulation; close: () => Promise<void> };

/** @param how `masters`: how many of them to wait for; all four when left out */
export async function simulateDeployment(
  parameters: Record<string, Json>,
  how: Pick<SimulationOptions, 'speed' | 'coresPerNode' | 'wrote'> & { masters?: number },
): Promise<SimulatedDeployment> {
  const folder = mkdtempSync(path.join(tmpdir(), 'plenum-release-'));
  const removeRelease = (): void => rmSync(folder, { recursive: true, force: true });
  let simulation: Simulation | undefined;
  const close = async (): Promise<void> => {
    await simulation?.close();
    removeRelease();
  };
  try {
    const worker = (await findWorker()) ?? '';
    const release = makeRelease({ out: folder, baseUrl: 'https://127.0.0.1', name: 'test', worker, compression: 1 });
    simulation = await Simulation.start({
      parameters: { ...small, ...parameters },
      release,
      network: await loopbackNetwork(),
      speed: how.speed,
      coresPerNode: how.coresPerNode,
      ...(how.wrote === undefined ? {} : { wrote: how.wrote }),
      say: () => undefined,
    });
    await simulation.ready(readyMs, how.masters);
    return { simulation, close };
  } catch (error) {
    await close();
    throw error;
  }
}

const small: Record<string, Json> = {
  stackName: 'calls',
  certificateType: 'selfsigned',
  adminUsername: 'operator',
  adminSshKey: { sshPublicKey: 'ssh-ed25519 AAAA operator' },
  maxNumberOfMediaNodes: 3,
};
