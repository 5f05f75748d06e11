import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Negotiation } from './negotiation.ts';

const timing = { collectMs: 10, spacingMs: 100, quickOffers: 2, answerTimeoutMs: 15_000 };

describe('negotiation', () => {
  it('has nothing to do until something changed', () => {
    const negotiation = new Negotiation(timing, 7);
    assert.equal(negotiation.wakeMs(), undefined);
  });

  it('collects changes for a moment before the first offer', () => {
    const negotiation = new Negotiation(timing, 7);
    negotiation.change(1000);
    negotiation.change(1005);
    assert.equal(negotiation.offerDueMs(), 1010);
    assert.equal(negotiation.offer(1010), 7);
  });

  it('sends an urgent change at once', () => {
    const negotiation = new Negotiation(timing, 7);
    negotiation.change(1000, { urgent: true });
    assert.equal(negotiation.offerDueMs(), 1000);
  });

  it('keeps one offer outstanding and sends what changed meanwhile after its answer', () => {
    const negotiation = new Negotiation(timing, 7);
    negotiation.change(1000);
    const id = negotiation.offer(1010);
    negotiation.change(1020);
    assert.equal(negotiation.offerDueMs(), undefined);
    assert.equal(negotiation.wakeMs(), 16_010);
    assert.equal(negotiation.answer(id), 'accepted');
    assert.equal(negotiation.offerDueMs(), 1030);
    assert.equal(negotiation.offer(1030), 8);
  });

  it('lets a burst of offers go at once and spaces what follows', () => {
    const negotiation = new Negotiation(timing, 1);
    const offerAt = (nowMs: number): void => {
      negotiation.change(nowMs);
      negotiation.answer(negotiation.offer(nowMs));
    };
    offerAt(1000);
    offerAt(1010);
    negotiation.change(1020);
    assert.equal(negotiation.offerDueMs(), 1100);
    offerAt(1100);
    negotiation.change(1110);
    assert.equal(negotiation.offerDueMs(), 1200);
    offerAt(3000);
    negotiation.change(3010);
    assert.equal(negotiation.offerDueMs(), 3020, 'a quiet time earns a new burst');
  });

  it('takes id 0 for the outstanding offer and refuses other ids', () => {
    const negotiation = new Negotiation(timing, 7);
    negotiation.change(0);
    negotiation.offer(10);
    assert.equal(negotiation.answer(6), 'stale');
    assert.equal(negotiation.answer(8), 'stale');
    assert.equal(negotiation.answer(0), 'accepted');
    assert.equal(negotiation.answer(0), 'stale', 'nothing is outstanding any more');
  });

  it('states the deadline of the outstanding answer', () => {
    const negotiation = new Negotiation(timing, 1);
    negotiation.change(0);
    negotiation.offer(10);
    assert.equal(negotiation.answerDeadlineMs(), 15_010);
    negotiation.answer(1);
    assert.equal(negotiation.answerDeadlineMs(), undefined);
  });

  it('forgets the outstanding offer when the client comes back, and offers again at once', () => {
    const negotiation = new Negotiation(timing, 1);
    negotiation.change(0);
    negotiation.offer(10);
    negotiation.restart(20);
    assert.equal(negotiation.offerDueMs(), 20);
    assert.equal(negotiation.answer(1), 'stale');
    assert.equal(negotiation.offer(20), 2);
    assert.equal(negotiation.answer(2), 'accepted');
  });

  it('is over when the other end offered by itself, unless more is awaited', () => {
    const negotiation = new Negotiation(timing, 1);
    negotiation.change(1000);
    negotiation.offer(1010);
    negotiation.change(1020);
    negotiation.settle({ isAwaited: true });
    assert.equal(negotiation.wakeMs(), 16_010, 'the deadline stays');
    negotiation.settle({ isAwaited: false });
    assert.equal(negotiation.wakeMs(), undefined);
  });
});
