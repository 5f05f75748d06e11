/** The secrets of a deployment: their names, as operators know them, and how they are made. */
import { randomBytes } from 'node:crypto';
import type { MasterDeployment } from './deployment.ts';

export const markers = { allMade: 'ALL-SECRETS-GENERATED', ready: 'FINISH-MASTER-NODE' } as const;

export const secretNames = {
  apiKey: 'LIVEKIT-API-KEY',
  apiSecret: 'LIVEKIT-API-SECRET',
  redisPassword: 'REDIS-PASSWORD',
  clusterSecret: 'PLENUM-CLUSTER-SECRET',
  domain: 'DOMAIN-NAME',
  publicCertificate: 'OWN-PUBLIC-CERTIFICATE',
  privateCertificate: 'OWN-PRIVATE-CERTIFICATE',
} as const;

/** What all nodes must agree upon. */
export const sharedSecrets: readonly string[] = [
  secretNames.apiKey,
  secretNames.apiSecret,
  secretNames.redisPassword,
  secretNames.clusterSecret,
];

/** What media nodes get, in a vault of their own. */
export const nodeSecrets: readonly string[] = [...sharedSecrets, secretNames.domain];

export type WantedSecret = { name: string; make: () => string };

/** In the order in which they are made. Those that exist already stay as they are. */
export function wantedSecrets(deployment: MasterDeployment, programVersion: string): WantedSecret[] {
  const { publicHost, masters, certificate, turn } = deployment;
  const known: Record<string, string> = {
    [secretNames.domain]: publicHost,
    'OPENVIDU-URL': `https://${publicHost}/`,
    'LIVEKIT-URL': `wss://${publicHost}/`,
    'OPENVIDU-RTC-ENGINE': 'mediasoup',
    'OPENVIDU-VERSION': programVersion,
  };
  masters.forEach((address, index) => {
    known[`MASTER-NODE-${index + 1}-PRIVATE-IP`] = address;
  });
  if (certificate.email !== '') {
    known['LETSENCRYPT-EMAIL'] = certificate.email;
  }
  if (turn.domain !== '') {
    known['LIVEKIT-TURN-DOMAIN-NAME'] = turn.domain;
  }
  return [
    { name: secretNames.apiKey, make: () => `API${randomText(12)}` },
    { name: secretNames.apiSecret, make: () => randomText(44) },
    { name: secretNames.redisPassword, make: () => randomText(44) },
    { name: secretNames.clusterSecret, make: () => randomText(44) },
    ...Object.entries(known).map(([name, value]) => ({ name, make: () => value })),
  ];
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** Letters and digits alone: such a secret needs no quoting in any file. */
function randomText(length: number): string {
  let text = '';
  while (text.length < length) {
    // Bytes beyond the last whole multiple of the alphabet would make some letters likelier.
    const fair = [...randomBytes(length)].filter((byte) => byte < 248);
    text += fair.map((byte) => alphabet[byte % alphabet.length]).join('');
  }
  return text.slice(0, length);
}
