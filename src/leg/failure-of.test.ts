import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { engineRefused, mediaClosed, noWorkerAlive } from '../media/errors.ts';
import { malformedDescription } from '../sdp/errors.ts';
import { failureOf } from './failure-of.ts';

describe('failure of a pass', () => {
  it('blames the worker, the description or us', () => {
    assert.equal(failureOf(mediaClosed('the router')).failure, 'worker-died');
    assert.equal(failureOf(noWorkerAlive()).failure, 'worker-died');
    assert.equal(failureOf(malformedDescription('x')).failure, 'bad-description');
    assert.equal(failureOf(engineRefused('a producer', new Error('x'))).failure, 'bad-description');
    assert.deepEqual(failureOf(new TypeError('oops')), { failure: 'internal', detail: 'oops', logLevel: 'error' });
    assert.equal(failureOf('text').detail, 'text');
  });
});
