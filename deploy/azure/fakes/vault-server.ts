/** Key vaults by name, with versions and the authentication challenge. */
import { randomBytes } from 'node:crypto';
import { JsonServer, type JsonRequest, type JsonResponse } from './json-server.ts';
import type { ServerCertificate } from './server-certificate.ts';

type Version = { id: string; value: string; madeAt: Date };

export class FakeVaults {
  /** Versions of each secret, oldest first, by `vault/secret`. */
  readonly #secrets = new Map<string, Version[]>();
  /** So many requests are refused first, as before rights have reached every part of Azure. */
  refuse = 0;
  readonly writes: string[] = [];
  /** Is told of each secret that is written, by which machine, before that one has its answer. */
  wrote: ((secret: string, machine: string) => void) | undefined;
  #server: JsonServer | undefined;

  static async start(certificate: ServerCertificate, host = '127.0.0.1'): Promise<FakeVaults> {
    const vaults = new FakeVaults();
    vaults.#server = await JsonServer.start({ certificate, host, handler: (request) => vaults.#answer(request) });
    return vaults;
  }

  /** One server for all vaults: the name is part of the path, as the clients keep it. */
  urlOf(vault: string): string {
    return `${this.#server?.url ?? ''}/${vault}/`;
  }

  versions(vault: string, name: string): string[] {
    return this.#secrets.get(`${vault}/${name}`)?.map(({ value }) => value) ?? [];
  }

  set(vault: string, name: string, value: string, madeAt = new Date()): Version {
    const version = { id: randomBytes(16).toString('hex'), value, madeAt };
    const key = `${vault}/${name}`;
    this.#secrets.set(key, [...(this.#secrets.get(key) ?? []), version]);
    return version;
  }

  names(vault: string): string[] {
    return [...this.#secrets.keys()].filter((key) => key.startsWith(`${vault}/`)).map((key) => key.split('/')[1] ?? '');
  }

  values(): string[] {
    return [...this.#secrets.values()].flatMap((versions) => versions.map(({ value }) => value));
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  #answer({ method, url, headers, body }: JsonRequest): JsonResponse {
    if (headers.authorization === undefined) {
      const challenge =
        'Bearer authorization="https://login.microsoftonline.com/x", resource="https://vault.azure.net"';
      return { status: 401, headers: { 'www-authenticate': challenge }, body: { error: { code: 'Unauthorized' } } };
    }
    if (this.refuse > 0) {
      this.refuse -= 1;
      return { status: 403, body: { error: { code: 'Forbidden', message: 'Caller is not authorized' } } };
    }
    const [vault = '', kind = '', name = '', versionId = ''] = url.pathname.split('/').filter((part) => part !== '');
    if (kind !== 'secrets' || name === '') {
      return { status: 404, body: { error: { code: 'NotFound' } } };
    }
    if (method === 'PUT') {
      this.writes.push(`${vault}/${name}`);
      const described = this.#describe(name, this.set(vault, name, (body as Version).value));
      this.wrote?.(`${vault}/${name}`, machineOf(headers.authorization));
      return { status: 200, body: described };
    }
    const versions = this.#secrets.get(`${vault}/${name}`) ?? [];
    const version = versionId === '' ? versions.at(-1) : versions.find(({ id }) => id === versionId);
    return version === undefined
      ? {
          status: 404,
          body: { error: { code: 'SecretNotFound', message: `A secret with (name/id) ${name} was not found` } },
        }
      : { status: 200, body: this.#describe(name, version) };
  }

  #describe(name: string, { id, value, madeAt }: Version): unknown {
    const seconds = Math.floor(madeAt.getTime() / 1_000);
    return {
      value,
      id: `${this.#server?.url ?? ''}/secrets/${name}/${id}`,
      attributes: { enabled: true, created: seconds, updated: seconds },
    };
  }
}

/** As the fake of the metadata service puts it into its tokens. */
function machineOf(authorization: string): string {
  const [, claims = ''] = authorization.split('.');
  try {
    const { machine } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { machine?: string };
    return machine ?? '';
  } catch {
    return '';
  }
}
