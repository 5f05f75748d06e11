/** The whole template, as it is committed in `azuredeploy.json`. */
import { concat, toTemplate, type ArmJson, type Expr } from './expression.ts';
import { access, vaultUrl } from './identity.ts';
import { masters, mediaNodes, publicHost, scaleSetName } from './machines.ts';
import { network } from './network.ts';
import { templateParameters, type TemplateParameter } from './parameters.ts';
import { toTemplateResources } from './resource.ts';
import { named, storageAccount, templateVariables } from './variables.ts';

export type ArmTemplate = {
  $schema: string;
  contentVersion: string;
  metadata: Record<string, string>;
  parameters: Record<string, Record<string, unknown>>;
  variables: Record<string, unknown>;
  resources: unknown[];
  outputs: Record<string, { type: string; value: unknown; metadata: { description: string } }>;
};

export type Release = { url: string; sha256: string };

/** @param release what nodes run when the parameters do not say otherwise */
export function buildTemplate(release?: Release): ArmTemplate {
  const net = network();
  const rights = access({ masters: net.mastersSubnetId, media: net.mediaSubnetId });
  const resources = [...net.resources, ...rights.resources, ...masters(net, rights), mediaNodes(net, rights)];
  return {
    $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
    contentVersion: '1.0.0.0',
    metadata: { description: 'Plenum: four masters behind a load balancer, media nodes that come and go with load.' },
    parameters: parameterSection(release),
    variables: toTemplate(templateVariables()) as Record<string, unknown>,
    resources: toTemplateResources(resources),
    outputs: outputSection(publicHost(net)),
  };
}

function parameterSection(release: Release | undefined): ArmTemplate['parameters'] {
  const filled: Record<string, string> =
    release === undefined ? {} : { releaseUrl: release.url, releaseSha256: release.sha256 };
  return Object.fromEntries(
    Object.entries(templateParameters).map(([name, declared]) => [name, parameter(declared, filled[name])]),
  );
}

function parameter(declared: TemplateParameter, filled: string | undefined): Record<string, unknown> {
  const { description, ignored: _, hidden: __, defaultValue, ...rest } = declared;
  const value = filled ?? defaultValue;
  return {
    ...rest,
    ...(value === undefined ? {} : { defaultValue: toTemplate(value as ArmJson) }),
    metadata: { description },
  };
}

function outputSection(host: Expr<string>): ArmTemplate['outputs'] {
  const secret = (name: string): Expr<string> => concat(vaultUrl('keyvault'), 'secrets/', name);
  const output = (value: Expr<string>, description: string): ArmTemplate['outputs'][string] => ({
    type: 'string',
    value: toTemplate(value),
    metadata: { description },
  });
  return {
    url: output(concat('https://', host, '/'), 'Where apps and server SDKs point to.'),
    livekitUrl: output(concat('wss://', host, '/'), 'The same for clients.'),
    meetUrl: output(concat('https://', host, '/meet/'), 'The meeting page.'),
    keyVaultName: output(named('keyvault'), 'Vault with all credentials.'),
    apiKeySecretId: output(secret('LIVEKIT-API-KEY'), 'Where the API key is kept.'),
    apiSecretSecretId: output(secret('LIVEKIT-API-SECRET'), 'Where the API secret is kept.'),
    storageAccountName: output(storageAccount, 'Storage account of the recordings.'),
    mediaScaleSetName: output(scaleSetName, 'Scale set of the media nodes.'),
  };
}
