import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { MemoryStoreServer } from '../cluster/memory-store.ts';
import { PlenumError } from '../lib/errors.ts';
import { createLog } from '../observe/log.ts';
import { checkPair, readCertificate, type StoredCertificate } from './certificate.ts';
import { CertificateHolder } from './certificate-holder.ts';
import { CertificateManager } from './certificate-manager.ts';
import { CertificateStore } from './certificate-store.ts';
import { OrderFailed } from './errors.ts';
import { LocalRecords } from './local-records.ts';
import { localSecret } from './local-secret.ts';
import { OwnSource } from './own-source.ts';
import { renewalTimeMs, retryDelayMs } from './renewal.ts';
import { Seal } from './seal.ts';
import { createSelfSigned } from './self-signed.ts';
import { SelfSignedSource } from './self-signed-source.ts';
import type { CertificateSource, SourceContext } from './source.ts';
import { until } from '../../test/kit/until.ts';

const dayMs = 24 * 3_600_000;
const log = createLog({ level: 'silent', json: true });

describe('renewal', () => {
  const life = (days: number, fingerprint: string) => ({
    names: [],
    notBeforeMs: 0,
    notAfterMs: days * dayMs,
    fingerprint: fingerprint.padEnd(64, '0'),
  });

  it('comes after two thirds of any life, up to a twentieth earlier, at a moment of each certificate\u2019s own', () => {
    for (const days of [6, 45, 90, 398]) {
      assert.equal(renewalTimeMs(life(days, '00000000')), (days * dayMs * 2) / 3);
      const early = renewalTimeMs(life(days, 'ffffffff')) / (days * dayMs);
      assert.ok(Math.abs(early - (2 / 3 - 0.05)) < 1e-9);
    }
  });

  it('is tried again later and later, and much later after a rate limit', () => {
    const delays = [1, 2, 3, 20].map((failures) => retryDelayMs({ failures, isRateLimited: false }, 0));
    assert.deepEqual(delays, [30_000, 60_000, 120_000, 6 * 3_600_000]);
    assert.equal(retryDelayMs({ failures: 1, isRateLimited: true }, 0), 3_600_000);
    assert.equal(retryDelayMs({ failures: 1, isRateLimited: false }, 1), 22_500);
    assert.equal(new OrderFailed('urn:ietf:params:acme:error:rateLimited', undefined).isRateLimited, true);
    assert.equal(new OrderFailed('too many certificates already issued', undefined).isRateLimited, true);
    assert.equal(new OrderFailed('no such host', undefined).isRateLimited, false);
  });
});

describe('a sealed record', () => {
  const seal = new Seal('plenum', ['the secret of the cluster']);

  it('opens with the same secret and name alone, and not when a bit was changed', () => {
    const sealed = seal.close('certificate', Buffer.from('content'));
    assert.equal(Buffer.from(seal.open('certificate', sealed)).toString(), 'content');
    assert.ok(!Buffer.from(sealed).includes('content'));
    const renewed = new Seal('plenum', ['a new secret of the cluster', 'the secret of the cluster']);
    assert.equal(Buffer.from(renewed.open('certificate', sealed)).toString(), 'content');
    const broken = (open: () => unknown): void => assert.throws(open, { reason: 'seal-broken' });
    broken(() => seal.open('other', sealed));
    broken(() => new Seal('plenum', ['another secret of one']).open('certificate', sealed));
    for (const at of [0, 5, 20, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      broken(() => seal.open('certificate', changed));
    }
    broken(() => seal.open('certificate', new Uint8Array(3)));
  });
});

describe('a certificate', () => {
  it('is refused with a foreign key, after its end, and when it is none', async () => {
    const nowMs = Date.now();
    const [one, two] = [await createSelfSigned(['a.test'], nowMs), await createSelfSigned(['a.test'], nowMs)];
    assert.deepEqual(checkPair(one, nowMs).names, ['a.test']);
    const bad = (pair: { chain: string; key: string }, atMs: number, why: RegExp): void =>
      assert.throws(
        () => checkPair(pair, atMs),
        (error) => error instanceof PlenumError && error.reason === 'bad-certificate' && why.test(error.message),
      );
    bad({ chain: one.chain, key: two.key }, nowMs, /belongs to another/);
    bad(one, nowMs + 826 * dayMs, /expired/);
    bad({ chain: 'nonsense', key: one.key }, nowMs, /PEM/);
    bad({ chain: one.chain, key: 'nonsense' }, nowMs, /private key/);
  });

  it('that is self-signed stays until its names change or two thirds of its life are over', async () => {
    const source = new SelfSignedSource(['b.test', 'a.test']);
    const context: SourceContext = { current: undefined, epoch: 1, nowMs: Date.now() };
    const first = await source.next(context);
    assert.ok(first.kind === 'replace');
    const current = first.certificate;
    const kept = await new SelfSignedSource(['a.test', 'b.test']).next({ ...context, current });
    assert.ok(kept.kind === 'keep' && kept.untilMs > context.nowMs + 500 * dayMs);
    assert.equal((await source.next({ ...context, current, nowMs: kept.untilMs })).kind, 'replace');
    assert.equal((await new SelfSignedSource(['c.test']).next({ ...context, current })).kind, 'replace');
  });

  it('of one\u2019s own says what is wrong with it', async () => {
    const nowMs = Date.now();
    const pair = await createSelfSigned(['a.test'], nowMs);
    const next = (certificate: string, key: string) =>
      new OwnSource({ certificate, key }).next({ current: undefined, epoch: 1, nowMs });
    assert.equal((await next(pair.chain, pair.key)).kind, 'replace');
    await assert.rejects(next('/no/such/file.pem', pair.key), { reason: 'certificate-unreadable' });
    await assert.rejects(next(pair.chain, '/dev/null'), { reason: 'bad-certificate' });
    await assert.rejects(next('http://127.0.0.1:1/x', pair.key), { reason: 'certificate-unreadable' });
  });
});

describe('looking after the certificate', () => {
  const timings = { heartbeatMs: 20, leaseMs: 80, keepMs: 1_000 };

  function startNode(server: MemoryStoreServer, nodeId: string, source: CertificateSource) {
    const shared = server.connect();
    const store = new CertificateStore(shared.records, new Seal('test', ['the secret of the cluster']));
    const holder = new CertificateHolder({ store, health: shared.health, log, now: Date.now });
    const counted: string[] = [];
    const observer = {
      certificateIssued: () => void counted.push('issued'),
      attemptFailed: (why: string) => void counted.push(why),
    };
    const manager = new CertificateManager({
      store,
      source,
      leases: shared.leases,
      timings,
      nodeId,
      observer,
      log,
      now: Date.now,
      random: () => 0,
    });
    return { shared, store, holder, manager, counted };
  }

  it('is done by one node, whose certificate all serve, and by another when that is gone', async () => {
    const server = new MemoryStoreServer({ timings });
    const one = startNode(server, 'one', new SelfSignedSource(['one.test']));
    const two = startNode(server, 'two', new SelfSignedSource(['two.test']));
    await Promise.all([one.holder.start(), two.holder.start()]);
    const names = (): (string | undefined)[] => [one, two].map(({ holder }) => holder.current?.facts.names[0]);
    one.manager.start();
    await until(() => (names().every((name) => name === 'one.test') ? '' : names().join()));
    two.manager.start();
    one.shared.cutOff(true);
    await until(() => (names()[1] === 'two.test' ? '' : names().join()));
    one.shared.cutOff(false);
    await until(() => (names()[0] === 'two.test' ? '' : names().join()));
    await assert.rejects(one.store.save((await one.store.load()) as StoredCertificate, 1), { reason: 'not-leader' });
    for (const { holder, manager } of [one, two]) {
      await manager.close();
      holder.close();
    }
  });

  it('keeps the old certificate, and says why, while there is no new one', async () => {
    const server = new MemoryStoreServer({ timings });
    let fails = false;
    const self = new SelfSignedSource(['a.test']);
    const source: CertificateSource = {
      next: async (context) => {
        if (fails) throw new OrderFailed('the authority says no', undefined);
        return self.next(context);
      },
    };
    const node = startNode(server, 'one', source);
    await node.holder.start();
    node.manager.start();
    await until(() => (node.counted.includes('issued') ? '' : 'nothing issued'));
    const before = (await node.store.load())?.chain;
    await node.manager.close();
    fails = true;
    const next = startNode(server, 'two', source);
    next.manager.start();
    await until(async () => ((await next.store.status())?.state === 'failing' ? '' : 'not failing'));
    assert.deepEqual(next.counted, ['order-failed']);
    assert.match((await next.store.status())?.reason ?? '', /^order-failed: the authority says no/);
    assert.equal((await next.store.load())?.chain, before);
    assert.equal(node.holder.current?.certificate.chain, before);
    await next.manager.close();
    node.holder.close();
  });

  it('does not take over a certificate that does not work', async () => {
    const node = startNode(new MemoryStoreServer({ timings }), 'one', new SelfSignedSource(['a.test']));
    const [good, foreign] = [
      await createSelfSigned(['a.test'], Date.now()),
      await createSelfSigned(['a.test'], Date.now()),
    ];
    await node.store.save({ ...good, kind: 'own', origin: '1' }, 1);
    await node.holder.start();
    await node.store.save({ chain: foreign.chain, key: good.key, kind: 'own', origin: '2' }, 1);
    await node.holder.look();
    assert.equal(node.holder.current?.certificate.chain, good.chain);
    node.holder.close();
  });
});

describe('what a node that is alone keeps', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-records-'));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('outlives it in files that others cannot read, and challenges do not', async () => {
    const records = new LocalRecords(path.join(folder, 'state'));
    const heard: string[] = [];
    records.onChange((name) => heard.push(name));
    await records.set('certificate', { value: Buffer.from('one'), epoch: 1 });
    await records.set('acme-challenge:x', { value: Buffer.from('two'), epoch: 1, lifeMs: 60_000 });
    assert.deepEqual(heard, ['certificate', 'acme-challenge:x']);
    const again = new LocalRecords(path.join(folder, 'state'));
    assert.equal(Buffer.from((await again.get('certificate'))?.value ?? []).toString(), 'one');
    assert.equal(await again.get('acme-challenge:x'), undefined);
    assert.ok((await records.get('acme-challenge:x')) !== undefined);
    for (const file of await readdir(path.join(folder, 'state')))
      assert.equal((await stat(path.join(folder, 'state', file))).mode & 0o077, 0);
    await records.remove('certificate');
    assert.equal(await again.get('certificate'), undefined);
  });

  it('has one secret, whoever asks first', async () => {
    const state = path.join(folder, 'secret');
    const secrets = await Promise.all([localSecret(state), localSecret(state), localSecret(state)]);
    assert.equal(new Set(secrets).size, 1);
    assert.match(secrets[0], /^[0-9a-f]{64}$/);
    await assert.rejects(localSecret('/dev/null/state'), { reason: 'bad-config' });
  });

  it('reads names and ends of what it made', async () => {
    const { chain } = await createSelfSigned(['a.test', '10.0.0.1'], Date.now());
    assert.deepEqual(readCertificate(chain).names, ['a.test', '10.0.0.1']);
  });
});
