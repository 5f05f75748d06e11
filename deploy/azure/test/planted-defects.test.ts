/** Proof that the inspection sees: each of these defects was made somewhere once. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { buildForm } from '../form/form.ts';
import type { FormDefinition } from '../form/controls.ts';
import { buildTemplate } from '../template/template.ts';
import { inspectForm } from './inspect-form.ts';
import { inspectTemplate } from './inspect-template.ts';
import { goldenScenarios, parametersOf, testRelease } from './scenarios.ts';

/* oxlint-disable typescript/no-explicit-any -- the point is to break what types would protect */
type Loose = any;

const parameters = parametersOf(goldenScenarios['own-certificate-turn'] ?? '');

function find(template: Loose, type: string): Loose {
  return template.resources.find((resource: Loose) => resource.type.endsWith(type));
}

function rule(template: Loose, name: string): Loose {
  const rules = template.resources
    .filter((resource: Loose) => resource.type.endsWith('networkSecurityGroups'))
    .flatMap((group: Loose) => group.properties.securityRules);
  return rules.find((candidate: Loose) => candidate.name === name).properties;
}

const defects: [string, (template: Loose) => void, RegExp][] = [
  [
    'a misspelled property',
    (t) => (find(t, 'virtualMachines').properties.hardwareProfil = { vmSize: 'x' }),
    /hardwareProfil/,
  ],
  [
    'a misspelled property deep inside',
    (t) =>
      (find(
        t,
        'virtualMachineScaleSets',
      ).properties.virtualMachineProfile.networkProfile.networkInterfaceConfigurations[0].properties.primery = true),
    /primery/,
  ],
  [
    'a read-only property',
    (t) => (find(t, 'virtualNetworks').properties.provisioningState = 'Succeeded'),
    /provisioningState/,
  ],
  [
    'a property in the wrong place',
    (t) => (find(t, 'virtualMachineScaleSets').orchestrationMode = 'Flexible'),
    /orchestrationMode/,
  ],
  [
    'SSH that is open to the world',
    (t) => (rule(t, 'Ssh-from-bastion').sourceAddressPrefix = 'Internet'),
    /Tcp 22 from internet/,
  ],
  ['any source', (t) => (rule(t, 'Redis-from-media').sourceAddressPrefix = '*'), /Tcp 6379 from \*/],
  [
    'two ports instead of a range',
    (t) => {
      delete rule(t, 'MediaUdp-from-internet').destinationPortRange;
      rule(t, 'MediaUdp-from-internet').destinationPortRanges = ['50000', '59999'];
    },
    /does not allow Udp 50000-59999/,
  ],
  ['a priority used twice', (t) => (rule(t, 'Http-from-internet').priority = 100), /two rules have priority 100/],
  ['no last rule', (t) => find(t, 'networkSecurityGroups').properties.securityRules.pop(), /DenyAllInbound/],
  [
    'a secret that is not secured',
    (t) => (t.parameters.ownPrivateCertificate.type = 'string'),
    /must-be-secure: ownPrivateCertificate/,
  ],
  [
    'a secret in userData',
    (t) => {
      const machine = find(t, 'virtualMachines');
      machine.properties.userData = "[base64(parameters('ownPrivateCertificate'))]";
    },
    /holds a secret/,
  ],
  [
    'a secret in an output',
    (t) => (t.outputs.key = { type: 'string', value: "[parameters('ownPrivateCertificate')]" }),
    /Outputs-Must-Not-Contain-Secrets/,
  ],
  [
    'a rule whose probe does not exist',
    (t) => {
      const balancer = find(t, 'loadBalancers');
      balancer.properties.probes = JSON.parse(
        JSON.stringify(balancer.properties.probes).replaceAll("'name', 'turn'", "'name', 'turnProbe'"),
      );
    },
    /has no probe turn/,
  ],
  [
    'a probe of a port that nobody opens',
    (t) => (rule(t, 'Health-from-load-balancer-probe').destinationPortRange = '7881'),
    /does not allow Tcp 7880 from load-balancer-probe/,
  ],
  [
    'a pool that nobody joins',
    (t) =>
      (find(t, 'networkInterfaces').properties.ipConfigurations[0].properties.loadBalancerBackendAddressPools = []),
    /nobody is in the pool masters/,
  ],
  [
    'a resource that is waited for and not there',
    (t) => find(t, 'virtualMachines').dependsOn.push('nobody'),
    /waits for nobody/,
  ],
  [
    'automatic upgrades',
    (t) => (find(t, 'virtualMachineScaleSets').properties.upgradePolicy.mode = 'Automatic'),
    /may reimage/,
  ],
  [
    'a second writer of capacity',
    (t) => t.resources.push({ type: 'Microsoft.Insights/autoscaleSettings', apiVersion: '2022-10-01', name: 'x' }),
    /scaling is the cluster's own/,
  ],
  ['a fixed region', (t) => (find(t, 'virtualNetworks').location = 'westeurope'), /Location-Should-Not-Be-Hardcoded/],
  [
    'Contributor for everybody',
    (t) => {
      const role = find(t, 'roleAssignments');
      role.properties.roleDefinitionId = role.properties.roleDefinitionId.replace(
        /'[0-9a-f-]{36}'/,
        "'b24988ac-6180-42a0-ab88-20f7382dd24c'",
      );
    },
    /more than anybody needs/,
  ],
  [
    'a parameter that nothing reads',
    (t) => (t.parameters.extra = { type: 'string', defaultValue: '', metadata: { description: 'x' } }),
    /Parameters-Must-Be-Referenced: extra/,
  ],
  ['a default for a secret', (t) => (t.parameters.ownPublicCertificate.defaultValue = 'x'), /Cannot-Have-Default/],
  [
    'an address in place of a function',
    (t) => (t.outputs.vault = { type: 'string', value: 'https://x.vault.azure.net/' }),
    /Hardcoded-Uri/,
  ],
];

describe('a planted defect of the template', () => {
  for (const [what, plant, message] of defects) {
    it(`is found: ${what}`, async () => {
      const template = structuredClone(buildTemplate(testRelease)) as Loose;
      plant(template);
      assert.match((await inspectTemplate(template, parameters)).join('\n'), message);
    });
  }
});

const formDefects: [string, (form: Loose) => void, RegExp][] = [
  [
    'an output under a wrong name',
    (form) => {
      form.view.outputs.parameters.containersName = form.view.outputs.parameters.containerName;
    },
    /Outputs-Must-Be-Present-In-Template-Parameters: containersName/,
  ],
  [
    'a parameter without a field',
    (form) => delete form.view.outputs.parameters.containerName,
    /does not ask for containerName/,
  ],
  [
    'an output of a field that is not there',
    (form) => (form.view.outputs.parameters.stackName = "[steps('basics').stack]"),
    /must-exist: steps\('basics'\).stack/i,
  ],
  [
    'a value that the template refuses',
    (form) => form.view.properties.steps[1].elements[0].constraints.allowedValues.push({ value: 'none' }),
    /allowed: certificateType .*none/i,
  ],
  [
    'a secret in a text box',
    (form) =>
      (form.view.properties.steps[1].elements.find((e: Loose) => e.name === 'ownPrivateCertificate').type =
        'Microsoft.Common.TextBox'),
    /shows a secret/,
  ],
  [
    'a check without a message',
    (form) => delete form.view.properties.steps[0].elements[1].constraints.validationMessage,
    /Must-Have-Message: stackName/,
  ],
];

describe('a planted defect of the form', () => {
  for (const [what, plant, message] of formDefects) {
    it(`is found: ${what}`, () => {
      const form = structuredClone(buildForm()) as Loose;
      plant(form);
      assert.match(inspectForm(form as FormDefinition, buildTemplate()).join('\n'), message);
    });
  }
});
