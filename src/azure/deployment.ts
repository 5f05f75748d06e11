/** What the template tells each node about the deployment: no secrets, every process of the machine can read it. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { badDeployment } from './errors.ts';

const common = {
  version: z.literal(1),
  stack: z.string().min(1),
  location: z.string().min(1),
  identityClientId: z.string().min(1),
  /** What media nodes need to join. */
  nodesVaultUrl: z.url(),
  /** Private addresses of the four masters. */
  masters: z.array(z.ipv4()).min(3),
  turn: z.object({ domain: z.string(), hasOwnAddress: z.boolean() }),
  /** Where the metadata service is; left out on a machine of Azure. */
  metadataUrl: z.url().exactOptional(),
  /** Everything of Azure is a fake on this machine, which all nodes share: cores of each, and how fast time is to pass. */
  simulated: z.object({ cores: z.number(), speed: z.number().min(1) }).exactOptional(),
};

const masterSchema = z.object({
  ...common,
  role: z.literal('master'),
  subscriptionId: z.string(),
  resourceGroup: z.string(),
  scaleSet: z.string(),
  armEndpoint: z.url(),
  /** Where all credentials come from. */
  vaultUrl: z.url(),
  storage: z.object({ blobUrl: z.url(), container: z.string(), stateContainer: z.string() }),
  publicAddress: z.ipv4(),
  publicHost: z.string().min(1),
  certificate: z.object({
    type: z.enum(['letsencrypt', 'owncert', 'selfsigned']),
    domain: z.string(),
    email: z.string(),
  }),
  capacity: z.object({
    min: z.int().min(1),
    max: z.int().min(1),
    targetCpuPercent: z.int().min(1).max(100),
    drainPolicy: z.enum(['migrate', 'wait']),
    drainDeadlineMinutes: z.int().min(0),
  }),
});

const mediaSchema = z.object({ ...common, role: z.literal('media') });

const deploymentSchema = z.discriminatedUnion('role', [masterSchema, mediaSchema]);

export type MasterDeployment = z.infer<typeof masterSchema>;
export type MediaDeployment = z.infer<typeof mediaSchema>;
export type Deployment = MasterDeployment | MediaDeployment;

/** @throws PlenumError `bad-deployment` */
export async function readDeployment(file: string): Promise<Deployment> {
  try {
    return parseDeployment(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw badDeployment(file, error);
  }
}

export function parseDeployment(value: unknown): Deployment {
  return deploymentSchema.parse(value);
}
