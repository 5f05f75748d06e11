/** Deployments that the template must serve, and the surroundings in which tests expand it. */
import { expandTemplate, type DeploymentContext, type ExpandedTemplate } from '../expand/expand-template.ts';
import type { Json } from '../expand/functions.ts';
import { buildTemplate } from '../template/template.ts';

export type Parameters = Record<string, Json>;

export const testRelease = { url: 'https://releases.example.com/plenum.tar.gz?a=1&b=2', sha256: 'ab'.repeat(32) };

export const context: DeploymentContext = {
  subscriptionId: '11111111-1111-4111-8111-111111111111',
  tenantId: '22222222-2222-4222-8222-222222222222',
  resourceGroup: 'calls',
  location: 'westeurope',
  deployerObjectId: '33333333-3333-4333-8333-333333333333',
  zones: ['1', '2', '3'],
  reference: (id) => {
    if (id.includes('/publicIPAddresses/')) {
      const hasName = id.endsWith('-publicIP');
      return {
        ipAddress: '203.0.113.7',
        ...(hasName ? { dnsSettings: { fqdn: 'calls-x.westeurope.cloudapp.azure.com' } } : {}),
      };
    }
    return { principalId: '44444444-4444-4444-8444-444444444444', clientId: '55555555-5555-4555-8555-555555555555' };
  },
};

const common: Parameters = {
  stackName: 'calls',
  adminUsername: 'operator',
  adminSshKey: { authenticationType: 'sshPublicKey', sshPublicKey: 'ssh-ed25519 AAAAC3Nz operator' },
};

const certificates: Record<string, Parameters> = {
  letsencrypt: { certificateType: 'letsencrypt', domainName: 'meet.example.com', letsEncryptEmail: 'me@example.com' },
  'letsencrypt without domain': { certificateType: 'letsencrypt' },
  owncert: {
    certificateType: 'owncert',
    domainName: 'meet.example.com',
    ownPublicCertificate: 'UFVCTElD',
    ownPrivateCertificate: 'UFJJVkFURS1LRVk=',
    turnOwnPublicCertificate: 'VFVSTi1QVUJMSUM=',
    turnOwnPrivateCertificate: 'VFVSTi1QUklWQVRF',
  },
  selfsigned: { certificateType: 'selfsigned' },
};

const publicAddresses: Record<string, Parameters> = {
  'new IP': { publicIpAddressObject: { name: '', resourceGroup: '', newOrExistingOrNone: 'new' } },
  'existing IP': {
    publicIpAddressObject: { name: 'kept-address', resourceGroup: 'other-group', newOrExistingOrNone: 'existing' },
  },
};

const storages: Record<string, Parameters> = {
  'new storage': {},
  'existing storage': { storageAccountName: 'keptaccount', containerName: 'recordings' },
};

const turns: Record<string, Parameters> = {
  'TURN domain with IP': {
    turnDomainName: 'turn.example.com',
    turnPublicIpAddressObject: { name: 'turn-address', resourceGroup: '', newOrExistingOrNone: 'existing' },
  },
  'TURN domain': { turnDomainName: 'turn.example.com' },
  'no TURN domain': {},
};

/** All combinations, by name. */
export function matrix(): Map<string, Parameters> {
  let found = new Map<string, Parameters>([['', common]]);
  for (const choices of [certificates, publicAddresses, storages, turns]) {
    found = new Map(
      [...found].flatMap(([name, parameters]) =>
        Object.entries(choices).map(([choice, more]) => [
          name === '' ? choice : `${name}, ${choice}`,
          { ...parameters, ...more },
        ]),
      ),
    );
  }
  return found;
}

/** Committed expansions: a reviewer sees in them what a change of the template means. */
export const goldenScenarios: Record<string, string> = {
  production: 'letsencrypt, new IP, new storage, no TURN domain',
  'ip-certificate': 'letsencrypt without domain, new IP, new storage, no TURN domain',
  'own-certificate-turn': 'owncert, new IP, new storage, TURN domain with IP',
  trial: 'selfsigned, new IP, new storage, no TURN domain',
  'everything-exists': 'letsencrypt, existing IP, existing storage, TURN domain with IP',
  'turn-domain': 'letsencrypt, existing IP, new storage, TURN domain',
};

export function parametersOf(scenario: string): Parameters {
  const found = matrix().get(scenario);
  if (found === undefined) {
    throw new Error(`no scenario ${scenario}`);
  }
  return found;
}

export function expand(parameters: Parameters, changed: Partial<DeploymentContext> = {}): ExpandedTemplate {
  return expandTemplate(buildTemplate(testRelease), parameters, { ...context, ...changed });
}

/** An expansion as it is committed: with the first boot of the nodes opened. */
export function goldenText(scenario: string): string {
  const { resources, outputs } = expand(parametersOf(scenario));
  const opened = (key: string, value: unknown): unknown =>
    key === 'userData' && typeof value === 'string' ? cloudConfigOf(value) : value;
  return `${JSON.stringify({ outputs, resources }, opened, 2)}\n`;
}

/** What cloud-init reads from a machine's user data. */
export function cloudConfigOf(userData: string): Record<string, Json> {
  const [mark, ...lines] = Buffer.from(userData, 'base64').toString().split('\n');
  if (mark !== '#cloud-config') {
    throw new Error(`cloud-init does not take ${mark}`);
  }
  return JSON.parse(lines.join('\n')) as Record<string, Json>;
}
