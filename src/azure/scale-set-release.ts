/** Which release the machines of a scale set run: those that are made from now on; the controller replaces the others. */
import type { ComputeManagementClient } from '@azure/arm-compute';
import { unreadableModel } from './errors.ts';

export type ReleaseToRun = { url: string; sha256: string; version: string };

export const releaseTags = { version: 'plenum-version', sha256: 'plenum-release' } as const;

const releaseFile = '/etc/plenum/release.env';

export type ScaleSetName = { resourceGroup: string; scaleSet: string };

/** Changes the model of the set. Resolves when Azure has accepted it; no machine is touched by that. */
export async function setRelease(
  client: ComputeManagementClient,
  { resourceGroup, scaleSet }: ScaleSetName,
  release: ReleaseToRun,
): Promise<void> {
  const set = await client.virtualMachineScaleSets.get(resourceGroup, scaleSet, { expand: 'userData' });
  const userData = set.virtualMachineProfile?.userData;
  if (userData === undefined) {
    throw unreadableModel(scaleSet);
  }
  const tags = { ...set.tags, [releaseTags.version]: release.version, [releaseTags.sha256]: release.sha256 };
  const changed = { tags, virtualMachineProfile: { userData: withRelease(userData, release) } };
  const options = set.etag === undefined ? {} : { ifMatch: set.etag };
  await client.virtualMachineScaleSets.update(resourceGroup, scaleSet, changed, options).submitted();
}

/** The first boot of a machine, with another release to fetch. */
function withRelease(userData: string, release: ReleaseToRun): string {
  const text = Buffer.from(userData, 'base64').toString();
  const start = text.indexOf('\n') + 1;
  const document = JSON.parse(text.slice(start)) as { write_files: { path: string; content: string }[] };
  const file = document.write_files.find(({ path }) => path === releaseFile);
  if (file === undefined) {
    throw unreadableModel(releaseFile);
  }
  file.content = releaseEnv(release);
  return Buffer.from(text.slice(0, start) + JSON.stringify(document)).toString('base64');
}

/** Read by a shell. */
export function releaseEnv({ url, sha256 }: Pick<ReleaseToRun, 'url' | 'sha256'>): string {
  return `RELEASE_URL='${url.replaceAll("'", '')}'\nRELEASE_SHA256=${sha256}\n`;
}
