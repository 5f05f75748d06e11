import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';

export type ServerCertificate = { key: string; cert: string };

/** A certificate for a few addresses that clients trust by being given it. The SDKs talk to nothing without TLS. */
export function makeServerCertificate(addresses: readonly string[] = ['127.0.0.1']): ServerCertificate {
  const folder = mkdtempSync(path.join(tmpdir(), 'plenum-certificate-'));
  const names = addresses.map((address) => (/^[\d.]+$/.test(address) ? `IP:${address}` : `DNS:${address}`));
  try {
    const [keyFile, certFile] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
    const request = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '7',
    ];
    const name = ['-subj', '/CN=plenum fakes', '-addext', `subjectAltName=${names.join(',')}`];
    execFileSync('openssl', [...request, ...name, '-keyout', keyFile, '-out', certFile], { stdio: 'pipe' });
    return { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** For this whole process: some clients have no option for it. */
export function trustCertificate({ cert }: ServerCertificate): void {
  setDefaultCACertificates([...getCACertificates('default'), cert]);
}
