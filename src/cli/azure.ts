/** `plenum azure verify`: for the first real deployment. */
import { Command } from 'commander';
import type { Config } from '../config/options.ts';
import { verificationFailed } from './errors.ts';
import { type CliOutput, formatJson, formatTable } from './terminal.ts';

type VerifyFlags = { deployment: string; config: string; withMachine?: boolean; json?: boolean };

export function azureCommand(readConfig: (file: string) => Config, out: CliOutput): Command {
  const azure = new Command('azure').description(
    'deployments on Azure; ./plenum azure simulate runs one on this machine',
  );
  const verify = azure.command('verify').description('check on a master what only a real deployment can prove');
  verify
    .option('--deployment <file>', 'what the template wrote', '/etc/plenum/deployment.json')
    .option('--config <file>', 'configuration of this master', '/etc/plenum/plenum.yaml')
    .option('--with-machine', 'also make a machine and delete it again; takes minutes')
    .option('--json', 'print JSON')
    .action(async () => {
      const flags = verify.opts<VerifyFlags>();
      const findings = await findingsOf(flags, readConfig(flags.config));
      const rows = findings.map(({ check, isGood, found, tookMs }) => [
        isGood ? 'ok' : 'FAIL',
        check,
        `${tookMs} ms`,
        found,
      ]);
      out.write(flags.json === true ? formatJson(findings) : formatTable([['', 'CHECK', 'TOOK', 'FOUND'], ...rows]));
      const failed = findings.filter(({ isGood }) => !isGood).length;
      if (failed > 0) {
        throw verificationFailed(failed);
      }
    });
  return azure;
}

async function findingsOf(flags: VerifyFlags, { azure }: Config) {
  const [
    verify,
    { readDeployment },
    { SecretVault },
    { machineCredential },
    { AzureProvider },
    compute,
    { ContainerClient },
  ] = await Promise.all([
    import('../azure/verify-deployment.ts'),
    import('../azure/deployment.ts'),
    import('../azure/secret-vault.ts'),
    import('../azure/azure-credential.ts'),
    import('../azure/azure-provider.ts'),
    import('../azure/compute-client.ts'),
    import('@azure/storage-blob'),
  ]);
  const deployment = await readDeployment(flags.deployment);
  if (deployment.role !== 'master') {
    throw verificationFailed(1, 'this is not a master');
  }
  const credential = machineCredential(deployment.identityClientId);
  const { blobUrl, container, stateContainer } = deployment.storage;
  const vault = (url: string) =>
    new SecretVault({ url, credential, patienceMs: 0, isSimulated: deployment.simulated !== undefined });
  return verify.verifyDeployment({
    deployment,
    vault: vault(deployment.vaultUrl),
    nodesVault: vault(deployment.nodesVaultUrl),
    containers: [container, stateContainer].map((name) => new ContainerClient(`${blobUrl}${name}`, credential)),
    provider: new AzureProvider({
      client: compute.createComputeClient(azure),
      subscriptionId: azure.subscription_id,
      resourceGroup: azure.resource_group,
      scaleSet: azure.scale_set,
      now: Date.now,
    }),
    withMachine: flags.withMachine === true,
    certificate: verify.certificateOf,
  });
}
