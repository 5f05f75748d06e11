/** A certificate that the operator brings: PEM text, base64 of it, a file, or a URL that is fetched once. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { checkPair } from './certificate.ts';
import { badCertificate, certificateUnreadable } from './errors.ts';
import type { CertificateSource, SourceAnswer, SourceContext } from './source.ts';

/** How often files are looked at: who renews them by other means expects to see the new one soon. */
const fileCheckMs = 10_000;
const farMs = 24 * 3_600_000;
const fetchTimeoutMs = 20_000;
const maxBytes = 128 * 1024;

export type OwnCertificateOptions = {
  /** Chain, leaf first. */
  certificate: string;
  key: string;
};

export class OwnSource implements CertificateSource {
  readonly #options: OwnCertificateOptions;

  constructor(options: OwnCertificateOptions) {
    this.#options = options;
  }

  async next({ current, nowMs }: SourceContext): Promise<SourceAnswer> {
    const { certificate, key } = this.#options;
    // A URL may be there for the installation only and gone afterwards: what was fetched is kept until the URL changes.
    if (isUrl(certificate) || isUrl(key)) {
      const origin = `urls ${digest([certificate, key])}`;
      return current?.origin === origin
        ? { kind: 'keep', untilMs: nowMs + farMs }
        : this.#replace(await this.#read(), origin, nowMs);
    }
    const pair = await this.#read();
    const origin = `own ${digest([pair.chain, pair.key])}`;
    return current?.origin === origin
      ? { kind: 'keep', untilMs: nowMs + fileCheckMs }
      : this.#replace(pair, origin, nowMs);
  }

  #replace(pair: { chain: string; key: string }, origin: string, nowMs: number): SourceAnswer {
    checkPair(pair, nowMs);
    return { kind: 'replace', certificate: { ...pair, kind: 'own', origin } };
  }

  async #read(): Promise<{ chain: string; key: string }> {
    const { certificate, key } = this.#options;
    return {
      chain: await readPem(certificate, 'the certificate (`tls.certificate`)'),
      key: await readPem(key, 'the private key (`tls.key`)'),
    };
  }
}

async function readPem(given: string, what: string): Promise<string> {
  const inline = inlinePem(given);
  if (inline !== undefined) {
    return inline;
  }
  let text: string;
  try {
    text = isUrl(given) ? await download(given) : await readFile(given, 'utf8');
  } catch (error) {
    throw certificateUnreadable(what, error);
  }
  const pem = inlinePem(text);
  if (pem === undefined) {
    throw badCertificate(`${what} is not in PEM format`);
  }
  return pem;
}

/** PEM, or base64 of PEM as installers pass it through command lines; undefined for anything else. */
function inlinePem(text: string): string | undefined {
  if (text.includes('-----BEGIN ')) {
    return text;
  }
  const decoded = /^[\sA-Za-z0-9+/]+=*\s*$/.test(text) ? Buffer.from(text, 'base64').toString() : '';
  return decoded.includes('-----BEGIN ') ? decoded : undefined;
}

async function download(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(fetchTimeoutMs) });
  if (!response.ok || response.body === null) {
    throw new Error(`the server answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > maxBytes) {
      throw new Error(`it is larger than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function isUrl(text: string): boolean {
  return /^https?:\/\//.test(text);
}

function digest(parts: string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 32);
}
