/** The form of the portal, for the Deploy button and for a Template Spec. */
import { templateParameters, type ParameterName } from '../template/parameters.ts';
import type { Control, FormDefinition, PasswordBox, PublicAddress, SizeSelector, Step, TextBox } from './controls.ts';

const value = (step: string, name: string): string => `steps('${step}').${name}`;
const field = {
  certificateType: value('certificate', 'certificateType'),
  domainName: value('certificate', 'domainName'),
  turnDomainName: value('turn', 'turnDomainName'),
  drainPolicy: value('scaling', 'drainPolicy'),
  min: value('scaling', 'minNumberOfMediaNodes'),
  initial: value('scaling', 'initialNumberOfMediaNodes'),
  max: value('scaling', 'maxNumberOfMediaNodes'),
};
const isOwnCertificate = `equals(${field.certificateType}, 'owncert')`;
const isLetsEncrypt = `equals(${field.certificateType}, 'letsencrypt')`;
const hasTurnDomain = `not(empty(${field.turnDomainName}))`;
const needsTurnCertificate = `and(${isOwnCertificate}, ${hasTurnDomain})`;

const domainPattern = '^$|^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$';
const domainMessage = 'Enter a domain name in lower case, such as meet.example.com.';
const certificateTip =
  'base64 of the PEM file in one line (base64 -w0 FILE), or an https URL from which nodes fetch it.';

type Text = Partial<Omit<TextBox, 'constraints' | 'type'>> & { name: ParameterName; label: string };

/** Texts of the template are the tool tips, so that both say the same. */
function tip(name: ParameterName): string {
  return templateParameters[name].description;
}

function text(box: Text, constraints: TextBox['constraints']): TextBox {
  return { type: 'Microsoft.Common.TextBox', toolTip: tip(box.name), ...box, constraints };
}

function secret(name: ParameterName, label: string, condition: string): PasswordBox {
  return {
    name,
    type: 'Microsoft.Common.PasswordBox',
    label: { password: label },
    toolTip: certificateTip,
    // A certificate of two lines is longer than this; an empty one is not accepted.
    constraints: { required: true, regex: '^\\S{12,}$', validationMessage: `Needed: ${certificateTip}` },
    options: { hideConfirmation: true },
    visible: `[${condition}]`,
  };
}

function choice(name: ParameterName, label: string, described: Record<string, string>): Control {
  const { allowedValues = [], defaultValue } = templateParameters[name];
  return {
    name,
    type: 'Microsoft.Common.DropDown',
    label,
    toolTip: tip(name),
    defaultValue: String(defaultValue),
    constraints: {
      required: true,
      allowedValues: allowedValues.map((allowed) => ({
        label: allowed,
        value: allowed,
        description: described[allowed] ?? '',
      })),
    },
  };
}

function publicAddress(
  name: ParameterName,
  label: string,
  options: { hideNone: boolean; visible?: string },
): PublicAddress {
  const { hideNone, visible } = options;
  return {
    name,
    type: 'Microsoft.Network.PublicIpAddressCombo',
    label: { publicIpAddress: label },
    toolTip: { publicIpAddress: tip(name) },
    defaultValue: { publicIpAddressName: hideNone ? 'plenum-publicIP' : 'plenum-turnPublicIP' },
    constraints: { required: { publicIpAddress: hideNone } },
    options: { hideNone, hideDomainNameLabel: true, hideExisting: false },
    ...(visible === undefined ? {} : { visible }),
  };
}

function size(name: ParameterName, label: string): SizeSelector {
  return {
    name,
    type: 'Microsoft.Compute.SizeSelector',
    label,
    toolTip: tip(name),
    recommendedSizes: ['Standard_B4ms', 'Standard_B4s_v2', 'Standard_D4s_v5', 'Standard_F4s_v2'],
    constraints: { excludedSizes: [] },
    osPlatform: 'Linux',
    imageReference: { publisher: 'Debian', offer: 'debian-12', sku: '12-gen2' },
  };
}

function number(name: ParameterName, label: string, validations: TextBox['constraints']['validations'] = []): TextBox {
  return text(
    { name, label, defaultValue: String(templateParameters[name].defaultValue) },
    { required: true, regex: '^[1-9][0-9]?$', validationMessage: 'Enter a whole number from 1 to 99.', validations },
  );
}

function slider(name: ParameterName, label: string, subLabel: string): Control {
  const { minValue = 0, maxValue = 0, defaultValue } = templateParameters[name];
  return {
    name,
    type: 'Microsoft.Common.Slider',
    label,
    toolTip: tip(name),
    min: minValue,
    max: maxValue,
    subLabel,
    defaultValue: Number(defaultValue),
    showStepMarkers: false,
    constraints: { required: true },
  };
}

const basics: Step = {
  name: 'basics',
  label: 'Resource group and stack name',
  elements: [
    {
      name: 'resourceScope',
      type: 'Microsoft.Common.ResourceScope',
      location: { resourceTypes: ['microsoft.compute/virtualmachinescalesets', 'microsoft.storage/storageaccounts'] },
    },
    text(
      { name: 'stackName', label: 'Stack name', placeholder: 'plenum' },
      {
        required: true,
        regex: '^[a-zA-Z][a-zA-Z0-9-]{1,13}[a-zA-Z0-9]$',
        validationMessage:
          '3 to 15 characters: a letter first, then letters, digits and hyphens, no hyphen at the end.',
      },
    ),
    {
      name: 'rights',
      type: 'Microsoft.Common.InfoBox',
      options: {
        icon: 'Info',
        text: 'The deployment assigns roles to its nodes: you need the role Owner, or Contributor and Role Based Access Control Administrator, on the resource group.',
      },
    },
  ],
};

const certificate: Step = {
  name: 'certificate',
  label: 'Domain and certificate',
  elements: [
    choice('certificateType', 'Certificate type', {
      letsencrypt: 'A certificate of Let’s Encrypt for your domain, or for the IP address without one.',
      owncert: 'Your own certificate for your domain.',
      selfsigned: 'For tests: browsers warn.',
    }),
    publicAddress('publicIpAddressObject', 'Public IP address', { hideNone: true }),
    text(
      { name: 'domainName', label: 'Domain name', defaultValue: '', placeholder: 'meet.example.com' },
      {
        required: `[${isOwnCertificate}]`,
        regex: domainPattern,
        validationMessage: domainMessage,
        validations: [
          {
            isValid: `[or(not(${isOwnCertificate}), not(empty(${field.domainName})))]`,
            message: 'Your own certificate needs its domain name.',
          },
        ],
      },
    ),
    text(
      {
        name: 'letsEncryptEmail',
        label: 'E-mail for Let’s Encrypt',
        defaultValue: '',
        visible: `[and(${isLetsEncrypt}, not(empty(${field.domainName})))]`,
      },
      { required: true, regex: '^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$', validationMessage: 'Enter an e-mail address.' },
    ),
    secret('ownPublicCertificate', 'Certificate chain', isOwnCertificate),
    secret('ownPrivateCertificate', 'Private key', isOwnCertificate),
    {
      name: 'selfSignedWarning',
      type: 'Microsoft.Common.InfoBox',
      visible: `[equals(${field.certificateType}, 'selfsigned')]`,
      options: { icon: 'Warning', text: 'Browsers warn of self-signed certificates, and mobile apps refuse them.' },
    },
  ],
};

const product: Step = {
  name: 'product',
  label: 'Media engine and release',
  elements: [
    {
      ...(choice('rtcEngine', 'Media engine', { mediasoup: 'mediasoup', pion: 'Not available.' }) as Extract<
        Control,
        { type: 'Microsoft.Common.DropDown' }
      >),
      constraints: {
        required: true,
        allowedValues: [{ label: 'mediasoup', value: 'mediasoup' }],
      },
    },
    text(
      { name: 'releaseUrl', label: 'URL of the release', defaultValue: '' },
      { required: true, regex: '^https://\\S+$', validationMessage: 'Enter an https URL.' },
    ),
    text(
      { name: 'releaseSha256', label: 'SHA-256 of the release', defaultValue: '' },
      { required: true, regex: '^[0-9a-f]{64}$', validationMessage: 'Enter 64 hex digits.' },
    ),
  ],
};

const machines: Step = {
  name: 'machines',
  label: 'Master and media nodes',
  elements: [
    size('masterNodeInstanceType', 'Size of master nodes'),
    slider('masterNodesDiskSize', 'Disk of master nodes', 'GB'),
    size('mediaNodeInstanceType', 'Size of media nodes'),
    text(
      { name: 'adminUsername', label: 'Administrator' },
      {
        required: true,
        regex: '^(?!(admin|administrator|root|user|test|guest|owner|console|sys|backup|support)$)[a-z][a-z0-9-]{0,30}$',
        validationMessage:
          'Lower-case letters, digits and hyphens, a letter first; common names such as admin are refused.',
      },
    ),
    {
      name: 'adminSshKey',
      type: 'Microsoft.Compute.CredentialsCombo',
      label: {
        authenticationType: 'Authentication type',
        password: 'Password',
        confirmPassword: 'Confirm password',
        sshPublicKey: 'SSH public key',
      },
      toolTip: { authenticationType: '', password: '', sshPublicKey: tip('adminSshKey') },
      constraints: { required: true },
      options: { hideConfirmation: false, hidePassword: true },
      osPlatform: 'Linux',
    },
  ],
};

const scaling: Step = {
  name: 'scaling',
  label: 'Scaling of media nodes',
  elements: [
    number('initialNumberOfMediaNodes', 'Media nodes at the start', [
      {
        isValid: `[lessOrEquals(int(${field.min}), int(${field.initial}))]`,
        message: 'Must not be below the minimum.',
      },
      {
        isValid: `[lessOrEquals(int(${field.initial}), int(${field.max}))]`,
        message: 'Must not be above the maximum.',
      },
    ]),
    number('minNumberOfMediaNodes', 'Minimum', [
      { isValid: `[lessOrEquals(int(${field.min}), int(${field.max}))]`, message: 'Must not be above the maximum.' },
    ]),
    number('maxNumberOfMediaNodes', 'Maximum'),
    slider('scaleTargetCPU', 'Target CPU', '%'),
    choice('drainPolicy', 'How a surplus node is emptied', {
      migrate: 'Its calls move to other nodes; empty within a minute.',
      wait: 'It waits until its calls end by themselves.',
    }),
    {
      ...number('drainDeadlineMinutes', 'Deadline of moving, minutes'),
      visible: `[equals(${field.drainPolicy}, 'migrate')]`,
      constraints: {
        required: true,
        regex: '^(0|[1-9][0-9]{0,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)$',
        validationMessage: 'Enter 0 for none, or minutes up to 1440.',
      },
    },
  ],
};

const storage: Step = {
  name: 'storage',
  label: 'Storage of recordings',
  elements: [
    text(
      { name: 'storageAccountName', label: 'Storage account', defaultValue: '' },
      {
        required: false,
        regex: '^$|^[a-z0-9]{3,24}$',
        validationMessage: 'Empty for a new account, or the name of one in this resource group.',
      },
    ),
    text(
      { name: 'containerName', label: 'Container', defaultValue: '', placeholder: 'openvidu-appdata' },
      {
        required: false,
        regex: '^$|^[a-z0-9](?:-?[a-z0-9]){2,62}$',
        validationMessage: '3 to 63 characters: lower-case letters, digits and single hyphens.',
      },
    ),
  ],
};

const turn: Step = {
  name: 'turn',
  label: '(Optional) TURN over TLS',
  elements: [
    {
      name: 'turnNote',
      type: 'Microsoft.Common.InfoBox',
      options: {
        icon: 'Info',
        text: 'For people behind firewalls that block UDP. Without a TURN domain the main domain serves TURN over TLS on port 443.',
      },
    },
    text(
      { name: 'turnDomainName', label: 'TURN domain name', defaultValue: '', placeholder: 'turn.example.com' },
      {
        required: false,
        regex: domainPattern,
        validationMessage: domainMessage,
        validations: [
          {
            isValid: `[or(empty(${field.turnDomainName}), not(equals(${field.turnDomainName}, ${field.domainName})))]`,
            message: 'Must differ from the main domain.',
          },
        ],
      },
    ),
    publicAddress('turnPublicIpAddressObject', 'Public IP address of its own', {
      hideNone: false,
      visible: `[${hasTurnDomain}]`,
    }),
    secret('turnOwnPublicCertificate', 'Certificate chain of the TURN domain', needsTurnCertificate),
    secret('turnOwnPrivateCertificate', 'Private key of the TURN domain', needsTurnCertificate),
  ],
};

const steps: Step[] = [basics, certificate, product, machines, scaling, storage, turn];
const numeric = new Set<string>(['number', 'int']);

export function buildForm(): FormDefinition {
  return {
    $schema: 'https://schema.management.azure.com/schemas/2021-09-09/uiFormDefinition.schema.json',
    view: {
      kind: 'Form',
      properties: { title: 'Plenum', isWizard: false, steps },
      outputs: {
        kind: 'ResourceGroup',
        location: "[steps('basics').resourceScope.location.name]",
        resourceGroupId: "[steps('basics').resourceScope.resourceGroup.id]",
        parameters: { location: "[steps('basics').resourceScope.location.name]", ...outputs() },
      },
    },
  };
}

/** A field that is not shown has no value: the default of the template stands in for it. */
function outputs(): Record<string, string> {
  const shown = steps.flatMap((step) => step.elements.map((control) => ({ step: step.name, control })));
  const entries = shown
    .filter(({ control }) => Object.hasOwn(templateParameters, control.name))
    .map(({ step, control }) => [control.name, output(step, control)] as const);
  return Object.fromEntries(entries);
}

function output(step: string, control: Control): string {
  const { type, defaultValue } = templateParameters[control.name as ParameterName];
  const isText = control.type === 'Microsoft.Common.TextBox';
  const entered = value(step, control.name);
  const converted = numeric.has(type) && isText ? `int(${entered})` : entered;
  const condition = 'visible' in control ? control.visible : undefined;
  if (condition === undefined) {
    return `[${converted}]`;
  }
  return `[if(${condition.slice(1, -1)}, ${converted}, ${literal(defaultValue)})]`;
}

function literal(defaultValue: unknown): string {
  if (typeof defaultValue === 'string') {
    return `'${defaultValue}'`;
  }
  return typeof defaultValue === 'number' ? String(defaultValue) : `parse('${JSON.stringify(defaultValue)}')`;
}
