/** Who may do what: identities, vaults, storage and the role assignments between them. */
import { call, concat, either, isEmpty, member, not, and, equals, type Expr } from './expression.ts';
import { given, type ParameterName } from './parameters.ts';
import { idOf, resource, stateOf, type Resource } from './resource.ts';
import { container, hasZones, isNewStorage, location, named, stateContainer, storageAccount } from './variables.ts';

/** Azure's built-in roles. */
const roles = {
  vaultOfficer: 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7',
  vaultUser: '4633458b-17de-408a-b874-0445c86b69e6',
  machineContributor: '9980e02c-c2be-4d73-94e8-173b1dc7cf3c',
  identityOperator: 'f1a07417-d97a-45cb-824c-7a7467783830',
  blobContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe',
} as const;

export type Access = {
  resources: Resource[];
  masters: Resource;
  media: Resource;
  vault: Resource;
  nodesVault: Resource;
  /** Machines wait for these, so that the first request of a node is not refused. */
  assignments: Resource[];
};

export function access(subnetIds: { masters: Expr<string>; media: Expr<string> }): Access {
  const masters = identity('masters', 'masterNodes');
  const media = identity('media', 'mediaNodes');
  const vault = keyVault('vault', named('keyvault'), []);
  // What media nodes read is readable from the deployment's own network alone.
  const nodesVault = keyVault('nodesVault', named('nodes'), [subnetIds.masters, subnetIds.media]);
  const blobs = storage();
  const group = { key: 'group', scope: undefined, id: member<string>(call('resourceGroup'), 'id') };
  const inside = (target: Resource) => ({ key: target.key, scope: target, id: idOf(target) });
  const assignments = [
    assignment(masters, roles.vaultOfficer, inside(vault), 'Masters make and read the secrets.'),
    assignment(masters, roles.vaultOfficer, inside(nodesVault), 'Masters copy there what media nodes need.'),
    assignment(media, roles.vaultUser, inside(nodesVault), 'Media nodes read what they need to join.'),
    assignment(masters, roles.machineContributor, group, 'The capacity controller adds and deletes media nodes.'),
    assignment(masters, roles.identityOperator, inside(media), 'New media nodes get this identity.'),
    assignment(masters, roles.blobContributor, inside(blobs.state), 'Lock and state of the first boot.'),
    assignment(masters, roles.blobContributor, inside(blobs.data), 'Recordings.'),
  ];
  return {
    resources: [
      masters,
      media,
      vault,
      nodesVault,
      ...blobs.resources,
      ...assignments,
      deployerAssignment(vault),
      ...certificateSecrets(vault),
    ],
    masters,
    media,
    vault,
    nodesVault,
    assignments,
  };
}

function identity(key: string, suffix: string): Resource {
  return resource(
    'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30',
    { key, name: named(suffix) },
    { location },
  );
}

function keyVault(key: string, name: Expr<string>, subnetIds: readonly Expr<string>[]): Resource {
  return resource(
    'Microsoft.KeyVault/vaults@2025-05-01',
    { key, name },
    {
      location,
      properties: {
        tenantId: member(call('tenant'), 'tenantId'),
        sku: { family: 'A', name: 'standard' },
        enableRbacAuthorization: true,
        enableSoftDelete: true,
        // The shortest: the name stays taken for so long after a stack is deleted.
        softDeleteRetentionInDays: 7,
        enabledForTemplateDeployment: true,
        publicNetworkAccess: 'Enabled',
        networkAcls: {
          defaultAction: subnetIds.length === 0 ? 'Allow' : 'Deny',
          bypass: 'AzureServices',
          virtualNetworkRules: subnetIds.map((id) => ({ id })),
        },
      },
    },
  );
}

type Target = { key: string; scope: Resource | undefined; id: Expr<string> };

function assignment(principal: Resource, role: string, target: Target, description: string): Resource {
  const principalId = member<string>(stateOf(principal), 'principalId');
  return resource(
    'Microsoft.Authorization/roleAssignments@2022-04-01',
    { key: `${principal.key}-${role}-${target.key}`, name: call('guid', target.id, idOf(principal), role) },
    {
      ...(target.scope === undefined ? {} : { scope: target.id }),
      properties: {
        roleDefinitionId: roleId(role),
        principalId,
        // A new principal may not have reached every replica of the directory; with its type Azure does not look.
        principalType: 'ServicePrincipal',
        description,
      },
    },
  );
}

/** Whoever deploys may read the secrets. It may be a person or a service, so its type is left to Azure. */
function deployerAssignment(vault: Resource): Resource {
  const objectId = member<string>(call('deployer'), 'objectId');
  return resource(
    'Microsoft.Authorization/roleAssignments@2022-04-01',
    { key: 'deployerReads', name: call('guid', idOf(vault), objectId, roles.vaultUser) },
    {
      scope: idOf(vault),
      properties: {
        roleDefinitionId: roleId(roles.vaultUser),
        principalId: objectId,
        description: 'Who deployed may read the secrets.',
      },
    },
  );
}

function roleId(role: string): Expr<string> {
  return call('subscriptionResourceId', 'Microsoft.Authorization/roleDefinitions', role);
}

function storage(): { resources: Resource[]; state: Resource; data: Resource } {
  const account = resource(
    'Microsoft.Storage/storageAccounts@2025-06-01',
    { key: 'storage', name: storageAccount, condition: isNewStorage },
    {
      location,
      kind: 'StorageV2',
      sku: { name: either<'Standard_LRS' | 'Standard_ZRS'>(hasZones, 'Standard_ZRS', 'Standard_LRS') },
      properties: {
        accessTier: 'Hot',
        supportsHttpsTrafficOnly: true,
        minimumTlsVersion: 'TLS1_2',
        allowBlobPublicAccess: false,
      },
    },
  );
  const service = resource(
    'Microsoft.Storage/storageAccounts/blobServices@2025-06-01',
    { key: 'blobs', name: [storageAccount, 'default'], condition: isNewStorage, after: [account] },
    { properties: { deleteRetentionPolicy: { enabled: true, days: 7 } } },
  );
  const folder = (key: string, name: Expr<string> | string): Resource =>
    resource(
      'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01',
      { key, name: [storageAccount, 'default', name], after: [account, service] },
      { properties: { publicAccess: 'None' } },
    );
  const state = folder('stateContainer', stateContainer);
  const data = folder('dataContainer', container);
  return { resources: [account, service, state, data], state, data };
}

const certificates: readonly (readonly [string, ParameterName])[] = [
  ['OWN-PUBLIC-CERTIFICATE', 'ownPublicCertificate'],
  ['OWN-PRIVATE-CERTIFICATE', 'ownPrivateCertificate'],
  ['TURN-OWN-PUBLIC-CERTIFICATE', 'turnOwnPublicCertificate'],
  ['TURN-OWN-PRIVATE-CERTIFICATE', 'turnOwnPrivateCertificate'],
];

/** Secrets among the parameters go to the vault and nowhere else. */
function certificateSecrets(vault: Resource): Resource[] {
  return certificates.map(([name, parameterName]) =>
    resource(
      'Microsoft.KeyVault/vaults/secrets@2025-05-01',
      {
        key: name,
        name: [named('keyvault'), name],
        condition: and(equals(given('certificateType'), 'owncert'), not(isEmpty(given(parameterName)))),
        after: [vault],
      },
      { properties: { value: given(parameterName), contentType: 'base64 of PEM, or a URL' } },
    ),
  );
}

/** `https://<account>.blob.core.windows.net/`, whatever the cloud. */
export function blobUrl(): Expr<string> {
  return concat('https://', storageAccount, '.blob.', member(call('environment'), 'suffixes', 'storage'), '/');
}

export function vaultUrl(suffix: string): Expr<string> {
  return concat('https://', named(suffix), member(call('environment'), 'suffixes', 'keyvaultDns'), '/');
}
