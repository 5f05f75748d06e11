import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configSchema } from '../config/options.ts';
import type { NodeAdmin } from '../drain/node-admin.ts';
import { createLog } from '../observe/log.ts';
import type { AccessClaims } from '../protocol/token.ts';
import { createAdminApi } from './admin-api.ts';

const nodes: NodeAdmin = {
  list: () => Promise.resolve([]),
  get: () => Promise.reject(new Error('not asked')),
  step: () => Promise.reject(new Error('not asked')),
};
const status = { state: 'failing', reason: 'order-failed: no', names: ['a.test'], notAfterMs: 1, nextAttemptAtMs: 2 };
const common = { nodes, config: configSchema.parse({}), log: createLog({ level: 'silent', json: true }) };
const admin = { isNodeAdmin: true, identity: 'ops', apiKey: 'key' } as AccessClaims;

describe('the status of the certificate', () => {
  const ask = (certificate: (() => Promise<object | undefined>) | undefined, claims?: AccessClaims, method = 'GET') =>
    createAdminApi({ ...common, certificate })({
      method,
      path: '/admin/v1/certificate',
      claims,
      body: new Uint8Array(),
    });

  it('is told to who may see nodes, and to nobody else', async () => {
    const certificate = (): Promise<object> => Promise.resolve(status);
    assert.deepEqual(await ask(certificate, admin), { status: 200, body: status });
    assert.equal((await ask(certificate)).status, 401);
    assert.equal((await ask(certificate, { ...admin, isNodeAdmin: false })).status, 403);
    assert.equal((await ask(certificate, admin, 'POST')).status, 405);
  });

  it('is not there where there is no certificate', async () => {
    assert.equal((await ask(undefined, admin)).status, 404);
    assert.equal((await ask(() => Promise.resolve(undefined), admin)).status, 404);
  });
});
