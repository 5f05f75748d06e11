/** The metadata service that each machine of Azure reaches: tokens, its addresses, and what the platform is about to do. */
import { JsonServer, type JsonRequest, type JsonResponse } from './json-server.ts';

export type ScheduledEvent = {
  EventId: string;
  EventType: 'Terminate' | 'Reboot' | 'Redeploy' | 'Freeze' | 'Preempt';
  ResourceType: 'VirtualMachine';
  Resources: string[];
  EventStatus: 'Scheduled' | 'Started';
  NotBefore: string;
  DurationInSeconds: number;
};

export type MetadataOptions = {
  /** Name of the machine, as events carry it. */
  machineName: string;
  computerName: string;
  publicAddress: string;
  privateAddress: string;
  tenantId: string;
  zone: string;
  host?: string;
  port?: number;
};

export class FakeMetadata {
  readonly #options: MetadataOptions;
  readonly events: ScheduledEvent[] = [];
  readonly acknowledged: string[] = [];
  isAway = false;
  #incarnation = 1;
  #server: JsonServer | undefined;

  static async start(options: MetadataOptions): Promise<FakeMetadata> {
    const metadata = new FakeMetadata(options);
    const { host, port } = options;
    metadata.#server = await JsonServer.start({
      handler: (request) => metadata.#answer(request),
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
    });
    return metadata;
  }

  private constructor(options: MetadataOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  schedule(event: Pick<ScheduledEvent, 'EventType'> & Partial<ScheduledEvent>): ScheduledEvent {
    const scheduled: ScheduledEvent = {
      EventId: `event-${this.#incarnation}`,
      ResourceType: 'VirtualMachine',
      Resources: [this.#options.machineName],
      EventStatus: 'Scheduled',
      NotBefore: new Date(Date.now() + 15 * 60_000).toUTCString(),
      DurationInSeconds: -1,
      ...event,
    };
    this.events.push(scheduled);
    this.#incarnation += 1;
    return scheduled;
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  #answer({ method, url, headers, body }: JsonRequest): JsonResponse {
    if (this.isAway) {
      return { status: 503, body: { error: 'away' } };
    }
    if (headers['metadata'] !== 'true') {
      return { status: 400, body: { error: 'Bad request. Required metadata header not specified' } };
    }
    switch (url.pathname.replace(/\/$/, '')) {
      case '/metadata/identity/oauth2/token':
        return this.#token(url);
      case '/metadata/instance':
        return { status: 200, body: this.#instance() };
      case '/metadata/loadbalancer':
        return { status: 200, body: { loadbalancer: this.#balancer() } };
      case '/metadata/scheduledevents':
        return method === 'POST' ? this.#acknowledge(body) : { status: 200, body: this.#document() };
      default:
        return { status: 404, body: { error: 'not found' } };
    }
  }

  /** Its signature is not looked at by the fakes; what is in it is, by Azurite. */
  #token(url: URL): JsonResponse {
    const resource = url.searchParams.get('resource') ?? '';
    const nowS = Math.floor(Date.now() / 1_000);
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
    const claims = {
      aud: resource,
      iss: `https://sts.windows.net/${this.#options.tenantId}/`,
      iat: nowS,
      nbf: nowS - 60,
      exp: nowS + 86_400,
      appid: url.searchParams.get('client_id') ?? '',
      // Not in real ones: which machine asks.
      machine: this.#options.machineName,
    };
    const token = `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}.signature`;
    const expiry = { expires_on: String(nowS + 86_400), expires_in: '86400', not_before: String(nowS) };
    return { status: 200, body: { access_token: token, token_type: 'Bearer', resource, ...expiry } };
  }

  #instance(): unknown {
    const { machineName, computerName, privateAddress, zone } = this.#options;
    return {
      compute: { name: machineName, zone, vmId: machineName, osProfile: { computerName } },
      // Addresses of the Standard tier are not told here.
      network: { interface: [{ ipv4: { ipAddress: [{ privateIpAddress: privateAddress, publicIpAddress: '' }] } }] },
    };
  }

  #balancer(): unknown {
    const { publicAddress, privateAddress } = this.#options;
    const address = { frontendIpAddress: publicAddress, privateIpAddress: privateAddress };
    return { publicIpAddresses: [address], inboundRules: [], outboundRules: [] };
  }

  #document(): unknown {
    return { DocumentIncarnation: this.#incarnation, Events: this.events };
  }

  #acknowledge(body: unknown): JsonResponse {
    const { StartRequests = [] } = body as { StartRequests?: { EventId: string }[] };
    for (const { EventId } of StartRequests) {
      const event = this.events.find((candidate) => candidate.EventId === EventId);
      if (event === undefined) {
        return { status: 400, body: { error: 'unknown event' } };
      }
      event.EventStatus = 'Started';
      this.acknowledged.push(EventId);
    }
    return { status: 200 };
  }
}
