import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { localCandidates } from './local-candidates.ts';

describe('local candidates', () => {
  it('announces every address over UDP first, then over TCP, the first address before the others', () => {
    const candidates = localCandidates({ addresses: ['203.0.113.5', '10.0.0.4'], port: 50_001, udp: true, tcp: true });
    assert.deepEqual(
      candidates.map((entry) => `${entry.protocol} ${entry.address}:${entry.port}`),
      ['udp 203.0.113.5:50001', 'udp 10.0.0.4:50001', 'tcp 203.0.113.5:50001', 'tcp 10.0.0.4:50001'],
    );
    const priorities = candidates.map((entry) => entry.priority);
    assert.deepEqual(
      priorities,
      priorities.toSorted((a, b) => b - a),
    );
    assert.equal(new Set(priorities).size, 4);
    assert.equal(new Set(candidates.map((entry) => entry.foundation)).size, 4);
    assert.ok(priorities.every((priority) => Number.isInteger(priority) && priority > 0 && priority < 2 ** 31));
    assert.deepEqual(
      candidates.map((entry) => entry.tcpType),
      [undefined, undefined, 'passive', 'passive'],
    );
  });

  it('leaves out a protocol that is switched off', () => {
    const protocols = (udp: boolean, tcp: boolean): string[] =>
      localCandidates({ addresses: ['10.0.0.4'], port: 1, udp, tcp }).map((entry) => entry.protocol);
    assert.deepEqual(protocols(true, false), ['udp']);
    assert.deepEqual(protocols(false, true), ['tcp']);
  });
});
