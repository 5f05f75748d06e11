import assert from 'node:assert/strict';
import { Agent } from 'node:https';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { axios } from 'acme-client';
import { createAcmeOrder } from '../../src/certificates/acme-order.ts';
import { checkPair } from '../../src/certificates/certificate.ts';
import { CertificateStore } from '../../src/certificates/certificate-store.ts';
import { Seal } from '../../src/certificates/seal.ts';
import { MemoryStoreServer } from '../../src/cluster/memory-store.ts';
import { configSchema } from '../../src/config/options.ts';
import { createEdgeGuards } from '../../src/edge/guards.ts';
import { startRedirectServer, type RedirectServer } from '../../src/edge/redirect-server.ts';
import { createLog } from '../../src/observe/log.ts';
import { Pebble } from '../kit/pebble.ts';

describe('an order at an ACME authority', () => {
  const records = new MemoryStoreServer().connect().records;
  const store = new CertificateStore(records, new Seal('test', ['a secret of sixteen']));
  let server: RedirectServer;
  let pebble: Pebble;
  before(async () => {
    server = await startRedirectServer({
      bindAddresses: ['127.0.0.1'],
      port: 0,
      httpsPort: () => 443,
      challenge: (token) => store.challenge(token),
      limits: createEdgeGuards(configSchema.parse({})).connections,
      log: createLog({ level: 'warn', json: true }),
    });
    pebble = await Pebble.start({ httpPort: server.port });
    axios.defaults.httpsAgent = new Agent({ ca: await readFile(pebble.caFile, 'utf8') });
  });
  after(async () => {
    delete axios.defaults.httpsAgent;
    await server?.close();
    await pebble?.close();
  });

  it('for an address asks for a short-lived certificate, and gets one without any domain', async () => {
    const orders: unknown[] = [];
    const watching = axios.interceptors.request.use((request) => {
      if (request.url?.includes('order-plz')) orders.push(payloadOf(request.data));
      return request;
    });
    const order = createAcmeOrder({ directoryUrl: pebble.directoryUrl, email: '', profile: '', store });
    const pair = await order({ names: ['127.0.0.1'], epoch: 1 });
    axios.interceptors.request.eject(watching);
    assert.deepEqual(checkPair(pair, Date.now()).names, ['127.0.0.1']);
    const [first] = orders;
    assert.deepEqual(first, { identifiers: [{ type: 'ip', value: '127.0.0.1' }], profile: 'shortlived' });
  });

  it('uses one account for all orders, opens another when the authority has forgotten it, and leaves no challenge behind', async () => {
    const { directoryUrl } = pebble;
    const order = createAcmeOrder({ directoryUrl, email: 'ops@plenum.test', profile: '', store });
    const before = await store.account(directoryUrl);
    await order({ names: ['one.plenum.test'], epoch: 2 });
    assert.deepEqual(await store.account(directoryUrl), before);
    const port = Number(new URL(directoryUrl).port);
    await pebble.close();
    pebble = await Pebble.start({ httpPort: server.port, port });
    axios.defaults.httpsAgent = new Agent({ ca: await readFile(pebble.caFile, 'utf8') });
    await order({ names: ['two.plenum.test'], epoch: 3 });
    assert.notDeepEqual(await store.account(directoryUrl), before);
    const token = /acme-challenge\/([\w-]+)/.exec(pebble.output)?.[1] ?? '';
    assert.notEqual(token, '');
    assert.equal(await store.challenge(token), undefined);
    const answer = await fetch(`http://127.0.0.1:${server.port}/.well-known/acme-challenge/${token}`);
    assert.equal(answer.status, 404);
  });

  it('is not written by a leader that has been succeeded', async () => {
    const order = createAcmeOrder({ directoryUrl: pebble.directoryUrl, email: '', profile: '', store });
    await store.putChallenge('fenced', 'x', 9);
    await assert.rejects(store.putChallenge('fenced', 'y', 8), { reason: 'not-leader' });
    const pair = await order({ names: ['three.plenum.test'], epoch: 9 });
    await store.save({ ...pair, kind: 'acme', origin: 'x' }, 9);
    await assert.rejects(store.save({ ...pair, kind: 'acme', origin: 'y' }, 8), { reason: 'not-leader' });
    assert.equal((await store.load())?.origin, 'x');
  });
});

/** What is signed in a request of ACME (RFC 8555, 6.2). */
function payloadOf(data: unknown): unknown {
  const body = (typeof data === 'string' ? JSON.parse(data) : data) as { payload: string };
  return JSON.parse(Buffer.from(body.payload, 'base64url').toString());
}
