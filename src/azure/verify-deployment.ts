/**
 * What only a real deployment can prove, as a list of checks with what each found. Nothing is changed, unless a machine
 * may be made and deleted for it.
 */
import { connect } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerClient } from '@azure/storage-blob';
import type { CapacityProvider } from '../scaling/capacity-provider.ts';
import type { MasterDeployment } from './deployment.ts';
import { secretNames } from './deployment-secrets.ts';
import type { SecretVault } from './secret-vault.ts';

export type VerifyOptions = {
  deployment: MasterDeployment;
  vault: Pick<SecretVault, 'get'>;
  nodesVault: Pick<SecretVault, 'get'>;
  containers: readonly Pick<ContainerClient, 'exists' | 'containerName'>[];
  provider: CapacityProvider;
  /** Also asks for a machine, and deletes it before it becomes a node. */
  withMachine: boolean;
  /** Of the TLS listener of the deployment. */
  certificate: (host: string) => Promise<CertificateFacts>;
  pauseMs?: number;
};

export type CertificateFacts = { subject: string; issuer: string; validUntil: string; isTrusted: boolean };

export type Finding = { check: string; isGood: boolean; found: string; tookMs: number };

const patienceMs = 15 * 60_000;

export async function verifyDeployment(options: VerifyOptions): Promise<Finding[]> {
  const { deployment, vault, nodesVault, containers, provider, certificate, withMachine } = options;
  const signal = AbortSignal.timeout(patienceMs);
  const findings = [
    await check('read the key vault', async () => present(await vault.get(secretNames.apiKey, signal))),
    await check('read the vault of the nodes', async () => present(await nodesVault.get(secretNames.apiKey, signal))),
  ];
  for (const container of containers) {
    findings.push(
      await check(`reach the container ${container.containerName}`, async () =>
        (await container.exists()) ? 'it is there' : fail('it is missing'),
      ),
    );
  }
  findings.push(
    await check('list the machines of the scale set', async () => {
      const seen = await provider.look(signal);
      return `${seen?.instances.length ?? 0} machines, capacity ${seen?.capacity ?? 0}`;
    }),
    await check(`reach ${deployment.publicHost} through the load balancer`, async () => {
      const { subject, issuer, validUntil, isTrusted } = await certificate(deployment.publicHost);
      const trust = isTrusted ? 'trusted' : 'not trusted';
      const facts = `certificate for ${subject} by ${issuer}, until ${validUntil}, ${trust}`;
      return isTrusted || deployment.certificate.type === 'selfsigned' ? facts : fail(facts);
    }),
  );
  return withMachine ? [...findings, ...(await verifyMachine(options, signal))] : findings;
}

async function verifyMachine({ provider, pauseMs = 2_000 }: VerifyOptions, signal: AbortSignal): Promise<Finding[]> {
  const before = new Set((await provider.look(signal))?.instances.map(({ instanceId }) => instanceId));
  let fresh: string | undefined;
  const until = async (condition: () => Promise<boolean>): Promise<void> => {
    while (!(await condition())) {
      await delay(pauseMs, undefined, { signal });
    }
  };
  const made = await check('make a machine', async () => {
    await provider.add(1, signal);
    await until(async () => {
      const seen = await provider.look(signal);
      fresh = seen?.instances.find(
        ({ instanceId, state }) => !before.has(instanceId) && state === 'running',
      )?.instanceId;
      return fresh !== undefined;
    });
    return `${fresh} runs`;
  });
  const name = fresh;
  if (name === undefined) {
    return [made];
  }
  const deleted = await check('delete that machine and no other', async () => {
    await provider.delete(name, signal);
    await until(
      async () => (await provider.look(signal))?.instances.every(({ instanceId }) => instanceId !== name) === true,
    );
    const left = new Set((await provider.look(signal))?.instances.map(({ instanceId }) => instanceId));
    const missing = [...before].filter((instanceId) => !left.has(instanceId));
    return missing.length === 0 ? 'it is gone, the others are there' : fail(`also gone: ${missing.join(', ')}`);
  });
  return [made, deleted];
}

async function check(what: string, work: () => Promise<string>): Promise<Finding> {
  const startedMs = performance.now();
  const took = (): number => Math.round(performance.now() - startedMs);
  try {
    return { check: what, isGood: true, found: await work(), tookMs: took() };
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return { check: what, isGood: false, found, tookMs: took() };
  }
}

function present(secret: object | undefined): string {
  return secret === undefined ? fail('the API key is not in it') : 'the API key is in it';
}

function fail(message: string): never {
  throw new Error(message);
}

/** What a client sees of the certificate. */
export function certificateOf(host: string): Promise<CertificateFacts> {
  const { promise, resolve, reject } = Promise.withResolvers<CertificateFacts>();
  const isAddress = /^[\d.]+$/.test(host);
  const options = {
    host,
    port: 443,
    rejectUnauthorized: false,
    timeout: 10_000,
    ...(isAddress ? {} : { servername: host }),
  };
  const socket = connect(options, () => {
    const { subject, issuer, valid_to: validUntil, subjectaltname } = socket.getPeerCertificate();
    resolve({
      subject: subjectaltname ?? String(subject.CN),
      issuer: String(issuer.O ?? issuer.CN),
      validUntil,
      isTrusted: socket.authorized,
    });
    socket.end();
  });
  socket.on('error', reject);
  socket.on('timeout', () => socket.destroy(new Error('no answer in 10 s')));
  return promise;
}
