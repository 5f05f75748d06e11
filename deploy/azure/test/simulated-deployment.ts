/** A simulated deployment for a test file: one release, one cluster, ended together. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeRelease } from '../../../scripts/release.ts';
import { findWorker } from '../../../test/kit/light/build.ts';
import type { Json } from '../expand/functions.ts';
import { Simulation } from '../simulate/simulation.ts';

const readyMs = 100_000;

export type SimulatedDeployment = { simulation: Simulation; close: () => Promise<void> };

export async function simulateDeployment(
  parameters: Record<string, Json>,
  how: { speed: number; coresPerNode: number },
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
      ...how,
      say: () => undefined,
    });
    await simulation.ready(readyMs);
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
