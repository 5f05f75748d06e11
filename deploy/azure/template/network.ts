import { portOf, portTable, type PortRow, type PortSource } from '../../../src/azure/port-table.ts';
import type { BalancingRule, Probe, Reference, SecurityRule } from './arm-types.ts';
import { either, isEmpty, item, member, not, nothing, call, type Arm, type ArmJson, type Expr } from './expression.ts';
import { given } from './parameters.ts';
import { childIdOf, idOf, resource, stateOf, type Resource } from './resource.ts';
import {
  addresses,
  checked,
  domainLabel,
  existingPublicAddressId,
  existingTurnAddressId,
  hasTurnAddress,
  isExistingAddress,
  isExistingTurnAddress,
  location,
  masterAddresses,
  masterCount,
  named,
  publicAddressName,
  turnAddressName,
  wantsNewTurnAddress,
  zonesOrNone,
} from './variables.ts';

const sources: Record<PortSource, string> = {
  internet: 'Internet',
  'load-balancer-probe': 'AzureLoadBalancer',
  masters: addresses.masters,
  media: addresses.media,
  bastion: addresses.bastion,
};

const subnetNames = { media: 'subnetForMediaNodes', masters: 'subnetForMasterNodes', bastion: 'AzureBastionSubnet' };

/** One rule per row and source; what the table does not name is denied, also between the subnets. */
function rulesFor(on: PortRow['on']): { name: string; properties: SecurityRule }[] {
  const rows = portTable.filter((row) => row.on === on && row.inactive !== true);
  const allowed = rows.flatMap((row) => row.from.map((from) => ({ row, from })));
  const rules = allowed.map(({ row, from }, index) => ({
    name: `${row.name}-from-${from}`,
    properties: {
      description: row.what,
      priority: 100 + 10 * index,
      direction: 'Inbound' as const,
      access: 'Allow' as const,
      protocol: row.protocol,
      sourcePortRange: '*' as const,
      sourceAddressPrefix: sources[from],
      destinationAddressPrefix: addresses[on],
      destinationPortRange: row.first === row.last ? String(row.first) : `${row.first}-${row.last}`,
    },
  }));
  return [
    ...rules,
    {
      name: 'Deny-all-else',
      properties: {
        description: 'Azure would allow everything within the virtual network.',
        priority: 4096,
        direction: 'Inbound',
        access: 'Deny',
        protocol: '*',
        sourcePortRange: '*',
        sourceAddressPrefix: '*',
        destinationAddressPrefix: '*',
        destinationPortRange: '*',
      },
    },
  ];
}

export type Network = {
  resources: Resource[];
  interfaces: Resource;
  mediaSubnetId: Expr<string>;
  mediaSecurityGroupId: Expr<string>;
  mastersSubnetId: Expr<string>;
  /** Pools that media nodes join: one when TURN has an address of its own. */
  mediaPools: Arm<{ id: string }[]>;
  publicAddress: Expr<string>;
  /** The name that Azure gave the address, or the address itself. */
  publicAddressHost: Expr<string>;
};

type VaultRules = { service: 'Microsoft.KeyVault' }[];

export function network(): Network {
  const mastersGroup = securityGroup('masters', 'masterNodeNSG');
  const mediaGroup = securityGroup('media', 'mediaNodeNSG');
  const natAddress = address('natAddress', named('publicIPnatGateway'));
  const nat = resource(
    'Microsoft.Network/natGateways@2025-05-01',
    { key: 'nat', name: named('natGateway') },
    {
      location,
      sku: { name: 'Standard' },
      properties: { idleTimeoutInMinutes: 10, publicIpAddresses: [{ id: idOf(natAddress) }] },
    },
  );
  const vnet = virtualNetwork(mastersGroup, mediaGroup, nat);
  const publicAddress = address('publicAddress', publicAddressName, {
    condition: not(isExistingAddress),
    label: either<{ domainNameLabel: string } | null>(
      isEmpty(given('domainName')),
      call('createObject', 'domainNameLabel', domainLabel),
      nothing(),
    ),
  });
  const turnAddress = address('turnAddress', turnAddressName, { condition: wantsNewTurnAddress });
  const balancer = loadBalancer(publicAddress, turnAddress);
  const interfaces = masterInterfaces(vnet, balancer);
  const state = addressState(publicAddress);
  return {
    resources: [mastersGroup, mediaGroup, natAddress, nat, vnet, publicAddress, turnAddress, balancer, interfaces],
    interfaces,
    mediaSubnetId: childIdOf(vnet, 'subnets', subnetNames.media),
    mediaSecurityGroupId: idOf(mediaGroup),
    mastersSubnetId: childIdOf(vnet, 'subnets', subnetNames.masters),
    mediaPools: either<{ id: string }[]>(
      hasTurnAddress,
      [{ id: childIdOf(balancer, 'backendAddressPools', pools.turn) }],
      [],
    ),
    publicAddress: member(state, 'ipAddress'),
    publicAddressHost: call(
      'coalesce',
      call('tryGet', state, 'dnsSettings', 'fqdn'),
      member(state, 'ipAddress') as ArmJson,
    ),
  };
}

/** Of the existing or the new address. A reference to a resource that this deployment does not make needs a version. */
function addressState(made: Resource): Expr<Record<string, unknown>> {
  return either<Record<string, unknown>>(
    isExistingAddress,
    call('reference', existingPublicAddressId, made.apiVersion),
    stateOf(made),
  );
}

function securityGroup(on: PortRow['on'], suffix: string): Resource {
  return resource(
    'Microsoft.Network/networkSecurityGroups@2025-05-01',
    { key: `${on}Group`, name: named(suffix) },
    { location, properties: { securityRules: rulesFor(on) } },
  );
}

type AddressOptions = { condition?: Expr<boolean>; label?: Expr<{ domainNameLabel: string } | null> };

function address(key: string, name: Expr<string>, { condition, label }: AddressOptions = {}): Resource {
  return resource(
    'Microsoft.Network/publicIPAddresses@2025-05-01',
    { key, name, ...(condition === undefined ? {} : { condition }) },
    {
      location,
      sku: { name: 'Standard', tier: 'Regional' },
      zones: zonesOrNone,
      properties: {
        publicIPAllocationMethod: 'Static',
        publicIPAddressVersion: 'IPv4',
        ...(label === undefined ? {} : { dnsSettings: label }),
      },
    },
  );
}

function virtualNetwork(mastersGroup: Resource, mediaGroup: Resource, nat: Resource): Resource {
  const serviceEndpoints: VaultRules = [{ service: 'Microsoft.KeyVault' }];
  return resource(
    'Microsoft.Network/virtualNetworks@2025-05-01',
    { key: 'vnet', name: named('virtualNetwork') },
    {
      location,
      // Evaluated before anything is made: wrong parameters end here, with a message.
      tags: { 'plenum-parameters': checked },
      properties: {
        addressSpace: { addressPrefixes: [addresses.network] },
        subnets: [
          {
            name: subnetNames.media,
            properties: {
              addressPrefix: addresses.media,
              // Instances have public addresses of their own.
              defaultOutboundAccess: false,
              networkSecurityGroup: { id: idOf(mediaGroup) },
              serviceEndpoints,
            },
          },
          {
            name: subnetNames.masters,
            properties: {
              addressPrefix: addresses.masters,
              defaultOutboundAccess: false,
              networkSecurityGroup: { id: idOf(mastersGroup) },
              natGateway: { id: idOf(nat) },
              serviceEndpoints,
            },
          },
          {
            name: subnetNames.bastion,
            properties: { addressPrefix: addresses.bastion, defaultOutboundAccess: false },
          },
        ],
      },
    },
  );
}

const pools = { masters: 'masters', turn: 'turn' };
const frontends = { main: 'main', turn: 'turn' };
const probes = { masters: 'masters', turn: 'turn' };
/** Above the 25 s between two pings of a client. */
const idleMinutes = 4;

type Frontend = { name: string; properties: { publicIPAddress: Reference } };

function loadBalancer(publicAddress: Resource, turnAddress: Resource): Resource {
  const name = named('loadBalancer');
  // Parts of the resource itself, so these ids are no dependencies.
  const part = (kind: string, partName: string): { id: Expr<string> } => ({
    id: call('resourceId', `Microsoft.Network/loadBalancers/${kind}`, name, partName),
  });
  const rule = (ruleName: string, to: { frontend: string; pool: string; probe: string; ports: [number, number] }) => ({
    name: ruleName,
    properties: {
      frontendIPConfiguration: part('frontendIPConfigurations', to.frontend),
      backendAddressPool: part('backendAddressPools', to.pool),
      probe: part('probes', to.probe),
      protocol: 'Tcp' as const,
      frontendPort: to.ports[0],
      backendPort: to.ports[1],
      idleTimeoutInMinutes: idleMinutes,
      enableTcpReset: true,
      enableFloatingIP: false,
      disableOutboundSnat: true,
      loadDistribution: 'Default' as const,
    },
  });
  const probe = (probeName: string, on: PortRow['on']) => ({
    name: probeName,
    properties: {
      protocol: 'Http' as const,
      port: portOf(on, 'Health').first,
      requestPath: '/',
      intervalInSeconds: 5,
      numberOfProbes: 2,
      probeThreshold: 2,
    },
  });
  const https = portOf('masters', 'Https').first;
  const http = portOf('masters', 'Http').first;
  const turnPort = portOf('media', 'TurnTls').first;
  const masters = { frontend: frontends.main, pool: pools.masters, probe: probes.masters };
  const turn = { frontend: frontends.turn, pool: pools.turn, probe: probes.turn };
  const frontend = (frontendName: string, id: Expr<string>) => ({
    name: frontendName,
    properties: { publicIPAddress: { id } },
  });
  const mainId = either<string>(isExistingAddress, existingPublicAddressId, idOf(publicAddress));
  const turnId = either<string>(isExistingTurnAddress, existingTurnAddressId, idOf(turnAddress));
  return resource(
    'Microsoft.Network/loadBalancers@2025-05-01',
    { key: 'balancer', name },
    {
      location,
      sku: { name: 'Standard', tier: 'Regional' },
      properties: {
        frontendIPConfigurations: withTurn<Frontend>(
          [frontend(frontends.main, mainId)],
          [frontend(frontends.turn, turnId)],
        ),
        backendAddressPools: withTurn<{ name: string }>([{ name: pools.masters }], [{ name: pools.turn }]),
        probes: withTurn<{ name: string; properties: Probe }>(
          [probe(probes.masters, 'masters')],
          [probe(probes.turn, 'media')],
        ),
        loadBalancingRules: withTurn<{ name: string; properties: BalancingRule }>(
          [rule('https', { ...masters, ports: [https, https] }), rule('http', { ...masters, ports: [http, http] })],
          [rule('turn-tls', { ...turn, ports: [443, turnPort] })],
        ),
      },
    },
  );
}

function withTurn<Item>(always: Arm<Item>[], turn: Arm<Item>[]): Expr<Item[]> {
  const none: Arm<Item>[] = [];
  return call('concat', always as ArmJson, call('if', hasTurnAddress, turn as ArmJson, none as ArmJson));
}

function masterInterfaces(vnet: Resource, balancer: Resource): Resource {
  const index = call<number>('copyIndex');
  return resource(
    'Microsoft.Network/networkInterfaces@2025-05-01',
    {
      key: 'interfaces',
      name: call('format', '{0}-masterNodeNetInterface{1}', given('stackName'), call('copyIndex', 1)),
      copy: { name: 'masterInterfaces', count: masterCount },
    },
    {
      location,
      properties: {
        ipConfigurations: [
          {
            name: 'primary',
            properties: {
              primary: true,
              privateIPAllocationMethod: 'Static',
              privateIPAddress: item(call<string[]>('createArray', ...masterAddresses), index),
              subnet: { id: childIdOf(vnet, 'subnets', subnetNames.masters) },
              loadBalancerBackendAddressPools: [{ id: childIdOf(balancer, 'backendAddressPools', pools.masters) }],
            },
          },
        ],
      },
    },
  );
}
