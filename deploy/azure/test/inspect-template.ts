/** What a reviewer would find in a template: the rules of arm-ttk and PSRule that matter here, and our own. */
import { portTable, type PortRow } from '../../../src/azure/port-table.ts';
import { expandTemplate, type DeploymentContext, type ExpandedResource } from '../expand/expand-template.ts';
import { isObject, textOf, type Json } from '../expand/functions.ts';
import { templateParameters } from '../template/parameters.ts';
import { context, type Parameters } from './scenarios.ts';
import { complaintsOf } from './sdk-round-trip.ts';

type JsonObject = { [key: string]: Json };
type Template = {
  parameters: Record<string, JsonObject>;
  variables: Record<string, Json>;
  resources: JsonObject[];
  outputs: Record<string, JsonObject>;
};

/** All that is wrong with a template, for one set of parameters. */
export async function inspectTemplate(
  template: unknown,
  parameters: Parameters,
  changed: Partial<DeploymentContext> = {},
): Promise<string[]> {
  const parsed = structuredClone(template) as Template;
  const { resources, declared } = expandTemplate(parsed, parameters, { ...context, ...changed });
  const structure = await Promise.all(resources.map((resource) => complaintsOf(resource)));
  return [
    ...inspectSource(parsed),
    ...structure.flat(),
    ...inspectResources(resources, declared),
    ...inspectSecrets(parsed, parameters, changed),
  ];
}

const secretName = /password|secret|license|licence|apikey|sshkey|privatecert|publiccert/i;
const isSecure = (type: Json | undefined): boolean => /^secure/i.test(textOf(type));

function inspectSource(template: Template): string[] {
  const text = JSON.stringify({ ...template, parameters: {} });
  const outputs = JSON.stringify(template.outputs);
  const parameters = Object.entries(template.parameters);
  const unread = Object.keys(template.variables).filter((name) => !text.includes(`variables('${name}')`));
  const hosts = /management\.azure\.com|\.core\.windows\.net|\.vault\.azure\.net/.exec(
    JSON.stringify(template.resources) + outputs,
  );
  const longest = Math.max(...[...text.matchAll(/"\[(?:[^"\\]|\\.)*\]"/g)].map((match) => match[0].length));
  return [
    ...parameters.flatMap(([name, declared]) => inspectParameter(name, declared, { text, outputs })),
    ...unread.map((name) => `Variables-Must-Be-Referenced: ${name}`),
    ...(hosts === null ? [] : [`DeploymentTemplate-Must-Not-Contain-Hardcoded-Uri: ${hosts[0]}`]),
    ...(/list(Keys|AccountSas|Secrets)\(/i.test(text) ? ['keys of an account are read'] : []),
    ...(text.length > 4_000_000 ? ['the template is larger than Azure takes'] : []),
    ...(parameters.length > 256 ? ['more parameters than Azure takes'] : []),
    ...(longest > 24_576 ? [`Template.ExpressionLength: ${longest}`] : []),
    ...template.resources.flatMap(inspectDeclaration),
  ];
}

function inspectParameter(name: string, declared: JsonObject, where: { text: string; outputs: string }): string[] {
  const { type, defaultValue, metadata } = declared;
  const isIgnored = templateParameters[name as keyof typeof templateParameters]?.ignored === true;
  const isUsed = where.text.includes(`parameters('${name}')`);
  const said: string[] = [];
  if (!isUsed && !isIgnored) said.push(`Parameters-Must-Be-Referenced: ${name}`);
  if (isUsed && isIgnored) said.push(`parameter ${name} is said to be ignored`);
  if (secretName.test(name) && !isSecure(type)) said.push(`Password-params-must-be-secure: ${name}`);
  if (isSecure(type) && defaultValue !== undefined && defaultValue !== '') {
    said.push(`Secure-String-Parameters-Cannot-Have-Default: ${name}`);
  }
  if (!isObject(metadata) || metadata['description'] === '') said.push(`parameter ${name} has no description`);
  if (isSecure(type) && where.outputs.includes(`'${name}'`)) said.push(`Outputs-Must-Not-Contain-Secrets: ${name}`);
  return said;
}

function inspectDeclaration({ type, apiVersion, location }: JsonObject): string[] {
  const label = textOf(type);
  return [
    ...(/preview/i.test(textOf(apiVersion)) ? [`apiVersions-Should-Be-Recent: ${label}`] : []),
    ...(location !== undefined && location !== "[parameters('location')]"
      ? [`Location-Should-Not-Be-Hardcoded: ${label}`]
      : []),
    ...(/automation|autoscale|actionGroups|activityLogAlerts/i.test(label)
      ? [`${label}: scaling is the cluster's own`]
      : []),
  ];
}

/** Secrets among the parameters must show up in vault secrets and nowhere else. */
function inspectSecrets(template: Template, parameters: Parameters, changed: Partial<DeploymentContext>): string[] {
  const marked: Parameters = { ...parameters };
  for (const [name, declared] of Object.entries(template.parameters)) {
    const known = templateParameters[name as keyof typeof templateParameters];
    if (known?.type === 'securestring' && parameters[name] !== undefined && declared['type'] !== undefined) {
      marked[name] = `SECRET-${name}`;
    }
  }
  const { resources, outputs } = expandTemplate(template, marked, { ...context, ...changed });
  const leaks = resources.filter(
    ({ type, body }) => type !== 'Microsoft.KeyVault/vaults/secrets' && readable(body).includes('SECRET-'),
  );
  return [
    ...leaks.map(({ type, name }) => `${type} ${name} holds a secret of the parameters`),
    ...(JSON.stringify(outputs).includes('SECRET-') ? ['an output holds a secret'] : []),
  ];
}

/** The text of a value, with base64 opened. */
function readable(value: Json): string {
  return JSON.stringify(value, (key, inner: unknown) =>
    key === 'userData' && typeof inner === 'string' ? Buffer.from(inner, 'base64').toString() : inner,
  );
}

function inspectResources(resources: ExpandedResource[], declared: Set<string>): string[] {
  const ofType = (type: string): ExpandedResource[] => resources.filter((resource) => resource.type === type);
  const ids = resources.map(({ id }) => id.toLowerCase());
  return [
    ...ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `${id} is declared twice`),
    ...resources.flatMap(({ type, dependsOn }) =>
      dependsOn.filter((id) => !declared.has(id)).map((id) => `${type} waits for ${id}, which is not there`),
    ),
    ...ofType('Microsoft.Network/networkSecurityGroups').flatMap(inspectSecurityGroup),
    ...ofType('Microsoft.Network/loadBalancers').flatMap((balancer) => inspectBalancer(balancer, resources)),
    ...ofType('Microsoft.Network/virtualNetworks').flatMap(inspectNetwork),
    ...ofType('Microsoft.KeyVault/vaults').flatMap(({ name }) =>
      /^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$/.test(name) ? [] : [`${name} is no name for a vault`],
    ),
    ...ofType('Microsoft.Storage/storageAccounts').flatMap(({ name }) =>
      /^[a-z0-9]{3,24}$/.test(name) ? [] : [`${name} is no name for a storage account`],
    ),
    ...ofType('Microsoft.Authorization/roleAssignments').flatMap(inspectAssignment),
    ...ofType('Microsoft.Compute/virtualMachines').flatMap(inspectUserData),
    ...ofType('Microsoft.Compute/virtualMachineScaleSets').flatMap((set) => [
      ...inspectUserData(set),
      ...inspectScaleSet(set),
    ]),
    ...inspectMasters(ofType('Microsoft.Compute/virtualMachines')),
  ];
}

function at(value: Json | undefined, ...path: (string | number)[]): Json | undefined {
  return path.reduce<Json | undefined>((of, key) => {
    if (Array.isArray(of)) return of[Number(key)];
    return isObject(of) ? of[textOf(key)] : undefined;
  }, value);
}

function list(value: Json | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

const sourceOf: Record<string, string> = {
  Internet: 'internet',
  AzureLoadBalancer: 'load-balancer-probe',
  '10.0.1.0/24': 'masters',
  '10.0.0.0/24': 'media',
  '10.0.3.0/26': 'bastion',
};

function inspectSecurityGroup({ name, body }: ExpandedResource): string[] {
  const on: PortRow['on'] = name.includes('master') ? 'masters' : 'media';
  const rules = list(at(body, 'properties', 'securityRules')).map((rule) => rule['properties'] as JsonObject);
  const priorities = rules.map((rule) => rule['priority']);
  const said = priorities
    .filter((priority, index) => priorities.indexOf(priority) !== index)
    .map((priority) => `${name}: two rules have priority ${textOf(priority)}`);
  const last = rules.at(-1);
  if (last?.['access'] !== 'Deny' || last['sourceAddressPrefix'] !== '*' || last['protocol'] !== '*') {
    said.push(`${name}: DenyAllInbound: the last rule must deny everything`);
  }
  const allowed = rules
    .filter((rule) => rule['access'] === 'Allow')
    .map((rule) => {
      const source = sourceOf[textOf(rule['sourceAddressPrefix'])] ?? textOf(rule['sourceAddressPrefix']);
      return `${textOf(rule['protocol'])} ${textOf(rule['destinationPortRange'])} from ${source}`;
    });
  const wanted = portTable
    .filter((row) => row.on === on && row.inactive !== true)
    .flatMap(({ protocol, first, last: end, from }) =>
      from.map((source) => `${protocol} ${first === end ? first : `${first}-${end}`} from ${source}`),
    );
  for (const rule of allowed.filter((found) => !wanted.includes(found))) {
    said.push(`${name} allows ${rule}, which the port table does not have`);
  }
  for (const rule of wanted.filter((row) => !allowed.includes(row))) {
    said.push(`${name} does not allow ${rule}`);
  }
  return said;
}

function inspectBalancer({ name, body }: ExpandedResource, resources: ExpandedResource[]): string[] {
  const parts = (kind: string): string[] => list(at(body, 'properties', kind)).map((part) => textOf(part['name']));
  const rules = list(at(body, 'properties', 'loadBalancingRules'));
  const said: string[] = [];
  const used = new Map<string, Set<string>>();
  const kinds = {
    frontendIPConfiguration: 'frontendIPConfigurations',
    backendAddressPool: 'backendAddressPools',
    probe: 'probes',
  };
  for (const rule of rules) {
    for (const [key, kind] of Object.entries(kinds)) {
      const target =
        textOf(at(rule, 'properties', key, 'id'))
          .split('/')
          .at(-1) ?? '';
      used.set(kind, (used.get(kind) ?? new Set()).add(target));
      if (!parts(kind).includes(target)) said.push(`${name}: rule ${textOf(rule['name'])} has no ${key} ${target}`);
    }
  }
  for (const kind of Object.values(kinds)) {
    const idle = parts(kind).filter((part) => used.get(kind)?.has(part) !== true);
    said.push(...idle.map((part) => `${name}: nothing uses ${kind}/${part}`));
  }
  for (const probe of list(at(body, 'properties', 'probes'))) {
    const port = Number(at(probe, 'properties', 'port'));
    const on: PortRow['on'] = probe['name'] === 'masters' ? 'masters' : 'media';
    const row = portTable.find((candidate) => candidate.on === on && candidate.first === port);
    if (row?.from.includes('load-balancer-probe') !== true) {
      said.push(`${name}: the probe ${textOf(probe['name'])} asks port ${port}, which does not answer it`);
    }
  }
  const members = resources
    .filter(({ type }) => /networkInterfaces$|virtualMachineScaleSets$/.test(type))
    .map(({ body: of }) => JSON.stringify(of));
  for (const pool of parts('backendAddressPools')) {
    if (!members.some((member) => member.includes(`${name}/backendAddressPools/${pool}"`))) {
      said.push(`${name}: nobody is in the pool ${pool}`);
    }
  }
  return said;
}

function inspectNetwork({ name, body }: ExpandedResource): string[] {
  return list(at(body, 'properties', 'subnets')).flatMap((subnet) => {
    const { defaultOutboundAccess, networkSecurityGroup } = subnet['properties'] as JsonObject;
    const label = `${name}/${textOf(subnet['name'])}`;
    return [
      ...(defaultOutboundAccess === false ? [] : [`VNET.PrivateSubnet: ${label}`]),
      ...(networkSecurityGroup !== undefined || subnet['name'] === 'AzureBastionSubnet'
        ? []
        : [`VNET.UseNSGs: ${label}`]),
    ];
  });
}

const rolesAllowed = new Set([
  'b86a8fe4-44ce-4948-aee5-eccb2c155cd7',
  '4633458b-17de-408a-b874-0445c86b69e6',
  '9980e02c-c2be-4d73-94e8-173b1dc7cf3c',
  'f1a07417-d97a-45cb-824c-7a7467783830',
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe',
]);

function inspectAssignment({ name, body }: ExpandedResource): string[] {
  const properties = body['properties'] as JsonObject;
  const role = textOf(properties['roleDefinitionId']).split('/').at(-1) ?? '';
  const isDeployer = properties['principalId'] === context.deployerObjectId;
  return [
    ...(rolesAllowed.has(role) ? [] : [`the role ${role} is more than anybody needs`]),
    ...(isDeployer || properties['principalType'] === 'ServicePrincipal' ? [] : [`${name} names no principalType`]),
  ];
}

function inspectUserData({ name, body }: ExpandedResource): string[] {
  const encoded = at(body, 'properties', 'userData') ?? at(body, 'properties', 'virtualMachineProfile', 'userData');
  const size = Buffer.from(textOf(encoded), 'base64').length;
  return size > 8_192 ? [`the userData of ${name} has ${size} bytes`] : [];
}

function inspectScaleSet({ name, body }: ExpandedResource): string[] {
  const mode = at(body, 'properties', 'upgradePolicy', 'mode');
  return mode === 'Manual' ? [] : [`${name}: Azure may reimage nodes that carry calls (${textOf(mode)})`];
}

function inspectMasters(machines: ExpandedResource[]): string[] {
  const zones = machines.map(({ body }) => textOf(at(body, 'zones', 0) ?? ''));
  const sets = machines.filter(({ body }) => at(body, 'properties', 'availabilitySet') !== undefined);
  const spread = new Set(zones.filter((zone) => zone !== '')).size;
  return spread >= 3 || sets.length === machines.length ? [] : ['the masters may share a rack'];
}
