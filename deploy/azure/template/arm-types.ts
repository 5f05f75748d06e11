/**
 * The resource types that the template uses, with exactly the properties that it sets. The types are closed, so that a
 * misspelled property, a read-only one and a wrong constant fail to compile.
 */

export type Reference = { id: string };
export type Zones = string[] | null;

export type ResourceTypes = {
  'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30': { location: string };
  'Microsoft.Authorization/roleAssignments@2022-04-01': {
    scope?: string;
    properties: {
      roleDefinitionId: string;
      principalId: string;
      principalType?: 'ServicePrincipal';
      description: string;
    };
  };
  'Microsoft.KeyVault/vaults@2025-05-01': {
    location: string;
    properties: {
      tenantId: string;
      sku: { family: 'A'; name: 'standard' };
      enableRbacAuthorization: true;
      enableSoftDelete: true;
      softDeleteRetentionInDays: number;
      enabledForTemplateDeployment: boolean;
      publicNetworkAccess: 'Enabled';
      networkAcls: { defaultAction: 'Allow' | 'Deny'; bypass: 'AzureServices'; virtualNetworkRules: Reference[] };
    };
  };
  'Microsoft.KeyVault/vaults/secrets@2025-05-01': { properties: { value: string; contentType: string } };
  'Microsoft.Storage/storageAccounts@2025-06-01': {
    location: string;
    kind: 'StorageV2';
    sku: { name: 'Standard_LRS' | 'Standard_ZRS' };
    properties: {
      accessTier: 'Hot';
      supportsHttpsTrafficOnly: true;
      minimumTlsVersion: 'TLS1_2';
      allowBlobPublicAccess: false;
    };
  };
  'Microsoft.Storage/storageAccounts/blobServices@2025-06-01': {
    properties: { deleteRetentionPolicy: { enabled: true; days: number } };
  };
  'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01': { properties: { publicAccess: 'None' } };
  'Microsoft.Network/networkSecurityGroups@2025-05-01': {
    location: string;
    properties: { securityRules: { name: string; properties: SecurityRule }[] };
  };
  'Microsoft.Network/natGateways@2025-05-01': {
    location: string;
    sku: { name: 'Standard' };
    properties: { idleTimeoutInMinutes: number; publicIpAddresses: Reference[] };
  };
  'Microsoft.Network/publicIPAddresses@2025-05-01': {
    location: string;
    sku: { name: 'Standard'; tier: 'Regional' };
    zones?: Zones;
    properties: {
      publicIPAllocationMethod: 'Static';
      publicIPAddressVersion: 'IPv4';
      dnsSettings?: { domainNameLabel: string } | null;
    };
  };
  'Microsoft.Network/virtualNetworks@2025-05-01': {
    location: string;
    tags: Record<string, string>;
    properties: { addressSpace: { addressPrefixes: string[] }; subnets: { name: string; properties: Subnet }[] };
  };
  'Microsoft.Network/loadBalancers@2025-05-01': {
    location: string;
    sku: { name: 'Standard'; tier: 'Regional' };
    properties: {
      frontendIPConfigurations: { name: string; properties: { publicIPAddress: Reference } }[];
      backendAddressPools: { name: string }[];
      probes: { name: string; properties: Probe }[];
      loadBalancingRules: { name: string; properties: BalancingRule }[];
    };
  };
  'Microsoft.Network/networkInterfaces@2025-05-01': {
    location: string;
    properties: {
      ipConfigurations: {
        name: string;
        properties: {
          primary: true;
          privateIPAllocationMethod: 'Static';
          privateIPAddress: string;
          subnet: Reference;
          loadBalancerBackendAddressPools: Reference[];
        };
      }[];
    };
  };
  'Microsoft.Compute/availabilitySets@2025-04-01': {
    location: string;
    sku: { name: 'Aligned' };
    properties: { platformFaultDomainCount: number; platformUpdateDomainCount: number };
  };
  'Microsoft.Compute/virtualMachines@2025-04-01': {
    location: string;
    zones?: Zones;
    tags: Record<string, string>;
    identity: UserIdentity;
    properties: MachineProfile & {
      hardwareProfile: { vmSize: string };
      availabilitySet?: Reference | null;
      networkProfile: { networkInterfaces: { id: string; properties: { primary: true; deleteOption: 'Delete' } }[] };
      osProfile: OsProfile & { computerName: string };
      userData: string;
    };
  };
  'Microsoft.Compute/virtualMachineScaleSets@2025-04-01': {
    location: string;
    zones?: Zones;
    tags: Record<string, string>;
    identity: UserIdentity;
    sku: { name: string; tier: 'Standard'; capacity: number };
    properties: {
      orchestrationMode: 'Flexible';
      platformFaultDomainCount: 1;
      singlePlacementGroup: false;
      upgradePolicy: { mode: 'Manual' };
      resiliencyPolicy: {
        resilientVMCreationPolicy: { enabled: boolean };
        resilientVMDeletionPolicy: { enabled: boolean };
      };
      virtualMachineProfile: MachineProfile & {
        osProfile: OsProfile & { computerNamePrefix: string };
        networkProfile: {
          networkApiVersion: '2022-11-01';
          networkInterfaceConfigurations: { name: string; properties: ScaleSetInterface }[];
        };
        scheduledEventsProfile: {
          terminateNotificationProfile: { enable: true; notBeforeTimeout: 'PT15M' };
        };
        userData: string;
      };
    };
  };
};

export type SecurityRule = {
  description: string;
  priority: number;
  direction: 'Inbound';
  access: 'Allow' | 'Deny';
  protocol: 'Tcp' | 'Udp' | '*';
  sourcePortRange: '*';
  sourceAddressPrefix: string;
  destinationAddressPrefix: string;
  destinationPortRange: string;
};

export type Subnet = {
  addressPrefix: string;
  defaultOutboundAccess: boolean;
  networkSecurityGroup?: Reference;
  natGateway?: Reference;
  serviceEndpoints?: { service: 'Microsoft.KeyVault' }[];
};

export type Probe = {
  protocol: 'Http';
  port: number;
  requestPath: string;
  intervalInSeconds: number;
  numberOfProbes: number;
  probeThreshold: number;
};

export type BalancingRule = {
  frontendIPConfiguration: Reference;
  backendAddressPool: Reference;
  probe: Reference;
  protocol: 'Tcp';
  frontendPort: number;
  backendPort: number;
  idleTimeoutInMinutes: number;
  enableTcpReset: boolean;
  enableFloatingIP: boolean;
  disableOutboundSnat: boolean;
  loadDistribution: 'Default';
};

type UserIdentity = { type: 'UserAssigned'; userAssignedIdentities: Record<string, Record<string, never>> };

type MachineProfile = {
  storageProfile: {
    imageReference: { publisher: string; offer: string; sku: string; version: string };
    osDisk: {
      createOption: 'FromImage';
      caching: 'ReadWrite';
      deleteOption: 'Delete';
      diskSizeGB: number;
      managedDisk: { storageAccountType: 'StandardSSD_LRS' };
    };
  };
  diagnosticsProfile: { bootDiagnostics: { enabled: true } };
};

type OsProfile = {
  adminUsername: string;
  linuxConfiguration: {
    disablePasswordAuthentication: true;
    ssh: { publicKeys: { path: string; keyData: string }[] };
  };
};

type ScaleSetInterface = {
  primary: true;
  deleteOption: 'Delete';
  networkSecurityGroup: Reference;
  ipConfigurations: {
    name: string;
    properties: {
      primary: true;
      subnet: Reference;
      loadBalancerBackendAddressPools: Reference[];
      publicIPAddressConfiguration: {
        name: string;
        sku: { name: 'Standard'; tier: 'Regional' };
        properties: { idleTimeoutInMinutes: number; publicIPAddressVersion: 'IPv4'; deleteOption: 'Delete' };
      };
    };
  }[];
};
