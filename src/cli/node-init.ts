/** `plenum node init`: makes a machine that the Azure template started a node of its cluster. */
import { Command } from 'commander';
import { createLog } from '../observe/log.ts';
import { programVersion } from '../roles/program-version.ts';
import type { CliOutput } from './terminal.ts';

type InitOptions = { deployment: string; root: string; services?: string };

/** Longer than anything that a first boot waits for; the service starts it again then. */
const deadlineMs = 60 * 60_000;

export function nodeInitCommand(out: CliOutput): Command {
  const command = new Command('init')
    .description('set up this machine of an Azure deployment; run by its first boot, and safe to run again')
    .option('--deployment <file>', 'what the template wrote', '/etc/plenum/deployment.json')
    .option('--root <folder>', 'write below this folder', '/')
    .option('--services <file>', 'write which services are wanted to this file, in place of asking systemd');
  return command.action(async () => {
    const { deployment: file, root, services: servicesFile } = command.opts<InitOptions>();
    const [{ initNode }, { readDeployment }, { machineCredential }, { NodeDisk }, services] = await Promise.all([
      import('../azure/node-init.ts'),
      import('../azure/deployment.ts'),
      import('../azure/azure-credential.ts'),
      import('../azure/node-disk.ts'),
      serviceManager(servicesFile),
    ]);
    const deployment = await readDeployment(file);
    const changed = await initNode({
      deployment,
      credential: machineCredential(deployment.identityClientId),
      services,
      disk: new NodeDisk(root),
      programVersion: programVersion(),
      log: createLog({ level: 'info', json: true }),
      signal: AbortSignal.timeout(deadlineMs),
    });
    out.write(changed.length === 0 ? 'Nothing had to be changed.\n' : `Changed:\n${changed.join('\n')}\n`);
  });
}

async function serviceManager(file: string | undefined) {
  if (file !== undefined) {
    const { ListedServices } = await import('../azure/listed-services.ts');
    return new ListedServices(file);
  }
  const { SystemServices } = await import('../azure/service-manager.ts');
  return new SystemServices();
}
