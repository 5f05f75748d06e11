/** The certificate of a node: where it comes from, who looks after it, who is told. */
import { CertificateHolder, type CertificateCopy } from '../certificates/certificate-holder.ts';
import { CertificateManager } from '../certificates/certificate-manager.ts';
import { CertificateStore } from '../certificates/certificate-store.ts';
import { LocalRecords } from '../certificates/local-records.ts';
import { localSecret } from '../certificates/local-secret.ts';
import { OwnSource } from '../certificates/own-source.ts';
import { Seal } from '../certificates/seal.ts';
import type { CertificateSource } from '../certificates/source.ts';
import type { ClusterStore } from '../cluster/store.ts';
import { MemoryStoreServer } from '../cluster/memory-store.ts';
import { clusterSecrets } from '../cluster/relay-config.ts';
import { certificateNames } from '../config/certificate-names.ts';
import type { Config } from '../config/options.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { machineAddresses } from './addresses.ts';

export type Certificates = { holder: CertificateHolder; store: CertificateStore };

export type CertificateParts = {
  config: Config;
  log: Logger;
  nodeId: string;
  metrics: Metrics;
  stack: AsyncDisposableStack;
  /** Without it the node is alone and keeps everything in its own folder. */
  cluster?: ClusterStore | undefined;
  /** Whether this node sees to it that there is one; others only use it. */
  manages: boolean;
};

/** Undefined with `tls.mode` off. Resolves once the node has looked for a certificate, whether or not there was one. */
export async function startCertificates(parts: CertificateParts): Promise<Certificates | undefined> {
  const { config, log, metrics, stack, cluster, manages } = parts;
  if (config.tls.mode === 'off') {
    return undefined;
  }
  const local = new LocalRecords(config.tls.state_dir);
  const secrets = cluster === undefined ? [await localSecret(config.tls.state_dir)] : clusterSecrets(config.cluster);
  const seal = new Seal(config.cluster.name, secrets);
  const store = new CertificateStore(cluster?.records ?? local, seal);
  const shared = cluster ?? stack.adopt(new MemoryStoreServer().connect(), (value) => value.close());
  const holder = new CertificateHolder({
    store,
    health: shared.health,
    copy: cluster === undefined ? undefined : localCopy(new CertificateStore(local, seal)),
    log,
    now: Date.now,
  });
  stack.adopt(holder, (value) => value.close());
  holder.follow(({ facts }) => metrics.certificates.served(facts.notAfterMs));
  await holder.start();
  if (manages) {
    const manager = new CertificateManager({
      store,
      source: await createSource(config, store),
      leases: shared.leases,
      timings: shared.timings,
      nodeId: parts.nodeId,
      observer: metrics.certificates,
      log,
      now: Date.now,
      random: Math.random,
    });
    stack.adopt(manager, (value) => value.close()).start();
  }
  return { holder, store };
}

function localCopy(store: CertificateStore): CertificateCopy {
  return { load: () => store.load(), save: (certificate) => store.save(certificate, 0) };
}

/** Libraries that make certificates are loaded where they are needed: together they take 20 MB of a process. */
async function createSource(config: Config, store: CertificateStore): Promise<CertificateSource> {
  const { mode, certificate, key, acme } = config.tls;
  const names = certificateNames(config);
  if (mode === 'owncert') {
    return new OwnSource({ certificate, key });
  }
  if (mode === 'selfsigned') {
    const { SelfSignedSource } = await import('../certificates/self-signed-source.ts');
    const ownNames = ['localhost', '127.0.0.1', ...machineAddresses(), ...config.rtc.node_ip];
    return new SelfSignedSource(names.length > 0 ? names : [...new Set(ownNames)]);
  }
  const [{ directory }, { createAcmeOrder }, { AcmeSource }] = await Promise.all([
    import('acme-client'),
    import('../certificates/acme-order.ts'),
    import('../certificates/acme-source.ts'),
  ]);
  const { production, staging } = directory.letsencrypt;
  const directoryUrl = acme.directory_url || (acme.staging ? staging : production);
  const { email, profile } = acme;
  return new AcmeSource({ directoryUrl, names, order: createAcmeOrder({ directoryUrl, email, profile, store }) });
}
