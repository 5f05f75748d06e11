import { userData } from '../cloud-init/cloud-init.ts';
import { call, concat, either, isEmpty, member, nothing, not, type ArmJson, type Expr } from './expression.ts';
import { blobUrl, vaultUrl, type Access } from './identity.ts';
import type { Network } from './network.ts';
import { given } from './parameters.ts';
import { idOf, resource, stateOf, type Resource } from './resource.ts';
import {
  container,
  hasTurnAddress,
  hasZones,
  location,
  masterAddresses,
  masterCount,
  named,
  stack,
  stateContainer,
  zoneOfIndex,
  zonesOrNone,
} from './variables.ts';

const image = { publisher: 'Debian', offer: 'debian-12', sku: '12-gen2', version: 'latest' } as const;
const mediaDiskGb = 50;
const bootDiagnostics = { bootDiagnostics: { enabled: true } } as const;

export const scaleSetName = named('mediaNodeScaleSet');

export function masters(net: Network, access: Access): Resource[] {
  const availability = resource(
    'Microsoft.Compute/availabilitySets@2025-04-01',
    { key: 'availability', name: named('masterNodes'), condition: not(hasZones) },
    {
      location,
      sku: { name: 'Aligned' },
      properties: { platformFaultDomainCount: 2, platformUpdateDomainCount: masterCount },
    },
  );
  const number = call<number>('copyIndex', 1);
  const machine = resource(
    'Microsoft.Compute/virtualMachines@2025-04-01',
    {
      key: 'masterMachines',
      name: call('format', '{0}-VM-MasterNode{1}', stack, number),
      copy: { name: 'masterMachines', count: masterCount },
      after: access.assignments,
    },
    {
      location,
      zones: zoneOfIndex(call('copyIndex')),
      tags: tags(),
      identity: identityOf(access.masters),
      properties: {
        hardwareProfile: { vmSize: given('masterNodeInstanceType') },
        availabilitySet: either<{ id: string } | null>(
          hasZones,
          nothing(),
          call('createObject', 'id', idOf(availability)),
        ),
        storageProfile: storageProfile(given<number>('masterNodesDiskSize')),
        osProfile: { computerName: call('format', '{0}-master-{1}', stack, number), ...login() },
        networkProfile: {
          networkInterfaces: [{ id: idOf(net.interfaces), properties: { primary: true, deleteOption: 'Delete' } }],
        },
        diagnosticsProfile: bootDiagnostics,
        userData: userData(settings('master', net, access)),
      },
    },
  );
  return [availability, machine];
}

export function mediaNodes(net: Network, access: Access): Resource {
  return resource(
    'Microsoft.Compute/virtualMachineScaleSets@2025-04-01',
    { key: 'scaleSet', name: scaleSetName, after: access.assignments },
    {
      location,
      zones: zonesOrNone,
      tags: tags(),
      identity: identityOf(access.media),
      sku: {
        name: given('mediaNodeInstanceType'),
        tier: 'Standard',
        capacity: given<number>('initialNumberOfMediaNodes'),
      },
      properties: {
        orchestrationMode: 'Flexible',
        platformFaultDomainCount: 1,
        singlePlacementGroup: false,
        // Azure must not touch a node with calls on it: new models reach nodes by replacing them.
        upgradePolicy: { mode: 'Manual' },
        resiliencyPolicy: {
          resilientVMCreationPolicy: { enabled: true },
          resilientVMDeletionPolicy: { enabled: true },
        },
        virtualMachineProfile: {
          storageProfile: storageProfile(mediaDiskGb),
          osProfile: { computerNamePrefix: call('toLower', concat(stack, '-m')), ...login() },
          networkProfile: {
            networkApiVersion: '2022-11-01',
            networkInterfaceConfigurations: [mediaInterface(net)],
          },
          diagnosticsProfile: bootDiagnostics,
          // For deletions that the cluster did not start. Its own deletions are acknowledged at once.
          scheduledEventsProfile: {
            terminateNotificationProfile: { enable: true, notBeforeTimeout: 'PT15M' },
          },
          userData: userData(settings('media', net, access)),
        },
      },
    },
  );
}

function mediaInterface(net: Network) {
  return {
    name: 'media',
    properties: {
      primary: true as const,
      deleteOption: 'Delete' as const,
      networkSecurityGroup: { id: net.mediaSecurityGroupId },
      ipConfigurations: [
        {
          name: 'media',
          properties: {
            primary: true as const,
            subnet: { id: net.mediaSubnetId },
            loadBalancerBackendAddressPools: net.mediaPools,
            publicIPAddressConfiguration: {
              name: 'media',
              sku: { name: 'Standard' as const, tier: 'Regional' as const },
              properties: {
                idleTimeoutInMinutes: 4,
                publicIPAddressVersion: 'IPv4' as const,
                deleteOption: 'Delete' as const,
              },
            },
          },
        },
      ],
    },
  };
}

function tags() {
  return { 'plenum-stack': stack, 'plenum-release': given('releaseSha256') };
}

function identityOf(identity: Resource) {
  return {
    type: 'UserAssigned' as const,
    userAssignedIdentities: call<Record<string, Record<string, never>>>(
      'createObject',
      idOf(identity),
      call('createObject'),
    ),
  };
}

function storageProfile(diskSizeGB: Expr<number> | number) {
  return {
    imageReference: image,
    osDisk: {
      createOption: 'FromImage' as const,
      caching: 'ReadWrite' as const,
      deleteOption: 'Delete' as const,
      diskSizeGB,
      managedDisk: { storageAccountType: 'StandardSSD_LRS' as const },
    },
  };
}

function login() {
  const user = given('adminUsername');
  return {
    adminUsername: user,
    linuxConfiguration: {
      disablePasswordAuthentication: true as const,
      ssh: {
        publicKeys: [
          {
            path: concat('/home/', user, '/.ssh/authorized_keys'),
            keyData: member<string>(given<Record<string, string>>('adminSshKey'), 'sshPublicKey'),
          },
        ],
      },
    },
  };
}

/** What `plenum node init` needs to know; the reader is `src/azure/deployment.ts`. Nothing secret. */
function settings(role: 'master' | 'media', net: Network, access: Access): Record<string, ArmJson> {
  const identity = role === 'master' ? access.masters : access.media;
  const common: Record<string, ArmJson> = {
    version: 1,
    role,
    stack,
    location,
    identityClientId: member(stateOf(identity), 'clientId'),
    nodesVaultUrl: vaultUrl('nodes'),
    masters: [...masterAddresses],
    turn: { domain: given('turnDomainName'), hasOwnAddress: hasTurnAddress },
  };
  if (role === 'media') {
    return common;
  }
  return {
    ...common,
    subscriptionId: member(call('subscription'), 'subscriptionId'),
    resourceGroup: member(call('resourceGroup'), 'name'),
    scaleSet: scaleSetName,
    armEndpoint: member(call('environment'), 'resourceManager'),
    vaultUrl: vaultUrl('keyvault'),
    storage: { blobUrl: blobUrl(), container, stateContainer },
    publicAddress: net.publicAddress,
    publicHost: publicHost(net),
    certificate: {
      type: given('certificateType'),
      domain: given('domainName'),
      email: given('letsEncryptEmail'),
    },
    capacity: {
      min: given<number>('minNumberOfMediaNodes'),
      max: given<number>('maxNumberOfMediaNodes'),
      targetCpuPercent: given<number>('scaleTargetCPU'),
      drainPolicy: given('drainPolicy'),
      drainDeadlineMinutes: given<number>('drainDeadlineMinutes'),
    },
  };
}

/** The domain; without one the address for an IP certificate, or Azure's name for a self-signed one. */
export function publicHost(net: Network): Expr<string> {
  return either<string>(
    not(isEmpty(given('domainName'))),
    given('domainName'),
    either<string>(call('equals', given('certificateType'), 'selfsigned'), net.publicAddressHost, net.publicAddress),
  );
}
