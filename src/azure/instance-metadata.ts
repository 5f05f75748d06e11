/** What the metadata service tells a machine about itself. */
import { z } from 'zod';
import { metadataFailed } from './azure-errors.ts';

const balancerDocument = z.object({
  loadbalancer: z.object({
    publicIpAddresses: z.array(z.object({ frontendIpAddress: z.string(), privateIpAddress: z.string() })).default([]),
  }),
});

const instanceDocument = z.object({
  compute: z.object({
    name: z.string(),
    zone: z.string().default(''),
    osProfile: z.object({ computerName: z.string() }),
  }),
  network: z.object({
    interface: z.array(
      z.object({ ipv4: z.object({ ipAddress: z.array(z.object({ privateIpAddress: z.string() })) }) }),
    ),
  }),
});

export type MachineFacts = { name: string; computerName: string; zone: string; privateAddress: string };

const defaultMetadataUrl = 'http://169.254.169.254';

export class InstanceMetadata {
  readonly #url: string;

  constructor(url: string = defaultMetadataUrl) {
    this.#url = url;
  }

  async machine(signal: AbortSignal): Promise<MachineFacts> {
    const { compute, network } = await this.#read('instance?api-version=2021-02-01', instanceDocument, signal);
    const privateAddress = network.interface[0]?.ipv4.ipAddress[0]?.privateIpAddress ?? '';
    return { name: compute.name, computerName: compute.osProfile.computerName, zone: compute.zone, privateAddress };
  }

  /** Public addresses of the Standard tier stand only in the document about load balancers. */
  async publicAddress(signal: AbortSignal): Promise<string> {
    const { loadbalancer } = await this.#read('loadbalancer?api-version=2020-10-01', balancerDocument, signal);
    const [first] = loadbalancer.publicIpAddresses;
    if (first === undefined) {
      throw metadataFailed('a public address', undefined);
    }
    return first.frontendIpAddress;
  }

  async #read<Schema extends z.ZodType>(path: string, schema: Schema, signal: AbortSignal): Promise<z.infer<Schema>> {
    try {
      const response = await fetch(`${this.#url}/metadata/${path}`, { headers: { Metadata: 'true' }, signal });
      if (!response.ok) {
        throw new Error(`status ${response.status}`);
      }
      return schema.parse(await response.json());
    } catch (error) {
      throw metadataFailed(path.split('?')[0] ?? path, error);
    }
  }
}
