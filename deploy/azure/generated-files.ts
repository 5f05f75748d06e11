import { buildForm } from './form/form.ts';
import { templateParameters } from './template/parameters.ts';
import { buildTemplate, type Release } from './template/template.ts';

/** The committed files, by name. With a release they are those of a release, with its address filled in. */
export function generatedFiles(release?: Release): Record<string, string> {
  return {
    'azuredeploy.json': asFile(buildTemplate(release)),
    'uiFormDefinition.json': asFile(buildForm()),
    'azuredeploy.parameters.example.json': asFile(exampleParameters()),
  };
}

function asFile(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

const example: Record<string, unknown> = {
  stackName: 'plenum',
  certificateType: 'letsencrypt',
  domainName: 'meet.example.com',
  letsEncryptEmail: 'operations@example.com',
  publicIpAddressObject: { name: 'plenum-publicIP', resourceGroup: '', newOrExistingOrNone: 'new' },
  adminUsername: 'operator',
  adminSshKey: { authenticationType: 'sshPublicKey', sshPublicKey: 'ssh-ed25519 AAAA… operator@example.com' },
  releaseUrl: 'https://releases.example.com/plenum-0.1.0-linux-x64.tar.gz',
  releaseSha256: '0'.repeat(64),
};

function exampleParameters(): unknown {
  const entries = Object.entries(templateParameters)
    .filter(([name, declared]) => declared.ignored !== true && declared.hidden !== true && !name.startsWith('own'))
    .filter(([name, declared]) => name in example || declared.defaultValue !== undefined)
    .map(([name, { defaultValue }]) => [name, { value: example[name] ?? defaultValue }]);
  return {
    $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#',
    contentVersion: '1.0.0.0',
    parameters: Object.fromEntries(entries),
  };
}
