/** The parameters of the template, in the order of the form. */
import { call, member, parameter, type Expr } from './expression.ts';

export type TemplateParameter = {
  type: 'string' | 'securestring' | 'int' | 'object' | 'secureObject';
  description: string;
  defaultValue?: unknown;
  allowedValues?: readonly string[];
  minValue?: number;
  maxValue?: number;
  minLength?: number;
  maxLength?: number;
  /** Taken so that parameter files of OpenVidu keep working; nothing reads it, and the form does not show it. */
  ignored?: true;
  /** Set by the portal or left at its default; the form has no field for it. */
  hidden?: true;
};

const noAddress = { name: '', resourceGroup: '', newOrExistingOrNone: 'none' };

const identity = {
  stackName: {
    type: 'string',
    description: 'Prefix of the name of every resource: a letter, then letters, digits and hyphens.',
    minLength: 3,
    maxLength: 15,
  },
  location: {
    type: 'string',
    description: 'Region of all resources.',
    defaultValue: member<string>(call('resourceGroup'), 'location'),
    hidden: true,
  },
} as const;

const certificate = {
  certificateType: {
    type: 'string',
    description:
      'letsencrypt: a certificate of Let’s Encrypt for the domain, or for the IP address without one. owncert: your own certificate. selfsigned: for tests, browsers warn.',
    defaultValue: 'letsencrypt',
    allowedValues: ['letsencrypt', 'owncert', 'selfsigned'],
  },
  publicIpAddressObject: {
    type: 'object',
    description: 'Public IP address that the domain points to: a new or an existing one.',
    defaultValue: noAddress,
  },
  domainName: { type: 'string', description: 'Domain name of the deployment; required for owncert.', defaultValue: '' },
  ownPublicCertificate: {
    type: 'securestring',
    description: 'For owncert: the certificate chain as base64 of the PEM file, or an https URL to it.',
    defaultValue: '',
  },
  ownPrivateCertificate: {
    type: 'securestring',
    description: 'For owncert: the private key as base64 of the PEM file, or an https URL to it.',
    defaultValue: '',
  },
  letsEncryptEmail: {
    type: 'string',
    description: 'Address to which Let’s Encrypt sends notices.',
    defaultValue: '',
  },
} as const;

const product = {
  openviduLicense: {
    type: 'securestring',
    description: 'Ignored: no licence is needed.',
    defaultValue: '',
    ignored: true,
  },
  rtcEngine: {
    type: 'string',
    description: 'Media engine.',
    defaultValue: 'mediasoup',
    allowedValues: ['mediasoup', 'pion'],
  },
  initialMeetAdminPassword: {
    type: 'securestring',
    description: 'Ignored: the meeting page has no administrator.',
    defaultValue: '',
    ignored: true,
  },
  initialMeetApiKey: {
    type: 'securestring',
    description: 'Ignored: the meeting page has no API key.',
    defaultValue: '',
    ignored: true,
  },
} as const;

const machines = {
  masterNodeInstanceType: { type: 'string', description: 'Size of the four masters.', defaultValue: 'Standard_B4ms' },
  masterNodesDiskSize: {
    type: 'int',
    description: 'Disk of each master in GB.',
    defaultValue: 100,
    minValue: 70,
    maxValue: 200,
  },
  mediaNodeInstanceType: { type: 'string', description: 'Size of media nodes.', defaultValue: 'Standard_B4ms' },
  adminUsername: { type: 'string', description: 'User with administration rights on all nodes.' },
  adminSshKey: { type: 'secureObject', description: 'Public SSH key of that user, as `sshPublicKey`.' },
} as const;

const count = (description: string, defaultValue: number) =>
  ({ type: 'int', description, defaultValue, minValue: 1, maxValue: 99 }) as const;

const scaling = {
  initialNumberOfMediaNodes: count('Media nodes at the start.', 1),
  minNumberOfMediaNodes: count('Media nodes that always serve.', 1),
  maxNumberOfMediaNodes: count('Media nodes that serve at most.', 5),
  scaleTargetCPU: {
    type: 'int',
    description: 'CPU of media nodes, in percent, that scaling keeps to.',
    defaultValue: 50,
    minValue: 5,
    maxValue: 95,
  },
  drainPolicy: {
    type: 'string',
    description: 'How a surplus media node is emptied: migrate moves its calls, wait lets them end by themselves.',
    defaultValue: 'migrate',
    allowedValues: ['migrate', 'wait'],
  },
  drainDeadlineMinutes: {
    type: 'int',
    description:
      'With migrate: minutes after which clients that could not be moved are told to reconnect; 0 = they are waited for.',
    defaultValue: 10,
    minValue: 0,
    maxValue: 1440,
  },
  datetime: { type: 'string', description: 'Ignored.', defaultValue: '', ignored: true },
  automationAccountName: {
    type: 'string',
    description: 'Ignored: there is no Automation account.',
    defaultValue: '',
    ignored: true,
  },
} as const;

const storage = {
  storageAccountName: {
    type: 'string',
    description: 'Storage account of this resource group for recordings; empty = a new one.',
    defaultValue: '',
  },
  containerName: {
    type: 'string',
    description: 'Container for recordings; empty = openvidu-appdata. It is made when it does not exist.',
    defaultValue: '',
  },
  appDataContainerName: {
    type: 'string',
    description: 'Another name of containerName.',
    defaultValue: '',
    hidden: true,
  },
} as const;

const turn = {
  turnDomainName: {
    type: 'string',
    description: 'Domain name for TURN over TLS; empty = the main domain serves it.',
    defaultValue: '',
  },
  turnPublicIpAddressObject: {
    type: 'object',
    description: 'Public IP address of its own for TURN over TLS, which needs a TURN domain.',
    defaultValue: noAddress,
  },
  turnOwnPublicCertificate: {
    type: 'securestring',
    description: 'For owncert: certificate chain of the TURN domain, as ownPublicCertificate.',
    defaultValue: '',
  },
  turnOwnPrivateCertificate: {
    type: 'securestring',
    description: 'For owncert: private key of the TURN domain, as ownPrivateCertificate.',
    defaultValue: '',
  },
} as const;

const release = {
  releaseUrl: { type: 'string', description: 'https URL of the release that the nodes run.', defaultValue: '' },
  releaseSha256: { type: 'string', description: 'SHA-256 of that file, in hex.', defaultValue: '' },
  additionalInstallFlags: { type: 'string', description: 'Ignored.', defaultValue: '', ignored: true },
} as const;

const table = {
  ...identity,
  ...certificate,
  ...product,
  ...machines,
  ...scaling,
  ...storage,
  ...turn,
  ...release,
} as const;

export type ParameterName = keyof typeof table;
export const templateParameters: Readonly<Record<ParameterName, TemplateParameter>> = table;

/** A parameter of the table, with the type that its use asks for. */
export function given<T = string>(name: ParameterName): Expr<T> {
  return parameter<T>(name);
}
