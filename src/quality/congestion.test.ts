import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CongestionControl, type CongestedTrack } from './congestion.ts';

const second = 1000;

function camera(trackSid: string, changes: Partial<CongestedTrack> = {}): CongestedTrack {
  return { trackSid, priority: 0, minimumBps: 300_000, ...changes };
}

/** Looks once a second. */
class Subscriber {
  readonly control = new CongestionControl();
  tracks: CongestedTrack[];
  availableBps: number | undefined;
  nowMs = 0;

  constructor(tracks: CongestedTrack[], availableBps?: number) {
    this.tracks = tracks;
    this.availableBps = availableBps;
  }

  pass(durationMs: number): string {
    for (const endMs = this.nowMs + durationMs; this.nowMs < endMs; this.nowMs += second) {
      this.control.update(this.nowMs, this.availableBps, this.tracks);
    }
    return this.paused;
  }

  get paused(): string {
    return [...this.control.paused].toSorted().join(' ');
  }
}

describe('tracks for which there is no bandwidth', () => {
  const four = ['A', 'B', 'C', 'D'].map((sid) => camera(sid));

  it('wait, the youngest of the least important ones first', () => {
    const subscriber = new Subscriber(four, 700_000);
    assert.equal(subscriber.pass(3 * second), 'C D');
  });

  it('flow as long as nothing is known of the path', () => {
    assert.equal(new Subscriber(four).pass(10 * second), '');
  });

  it('give way to a shared screen, and to what the subscriber says is more important', () => {
    const screen = camera('S', { priority: 254, minimumBps: 600_000 });
    assert.equal(new Subscriber([...four, screen], 1_000_000).pass(3 * second), 'B C D');
    const preferred = [camera('A'), camera('B'), camera('C', { priority: 5 })];
    assert.equal(new Subscriber(preferred, 400_000).pass(3 * second), 'A B');
  });

  it('do not wait for a moment of lack', () => {
    const subscriber = new Subscriber(four, 1_300_000);
    subscriber.pass(3 * second);
    subscriber.availableBps = 600_000;
    assert.equal(subscriber.pass(second), '');
    subscriber.availableBps = 1_300_000;
    assert.equal(subscriber.pass(5 * second), '');
  });

  it('are not stopped further before what the last ones gave back can show', () => {
    const subscriber = new Subscriber(four, 700_000);
    assert.equal(subscriber.pass(2 * second), 'C D');
    subscriber.availableBps = 100_000;
    assert.equal(subscriber.pass(second), 'C D');
    assert.equal(subscriber.pass(2 * second), 'A B C D');
  });

  it('come back one after the other once there has been room for a while', () => {
    const subscriber = new Subscriber(four, 600_000);
    assert.equal(subscriber.pass(3 * second), 'C D');
    subscriber.availableBps = 5_000_000;
    assert.equal(subscriber.pass(2 * second), 'C D');
    assert.equal(subscriber.pass(2 * second), 'D');
    assert.equal(subscriber.pass(3 * second), '');
  });

  it('are tried now and then where the estimate says that there is just enough for them, or too little', () => {
    const subscriber = new Subscriber(four, 900_000);
    assert.equal(subscriber.pass(3 * second), 'D');
    subscriber.availableBps = 1_250_000;
    assert.equal(subscriber.pass(3 * second), 'D');
    assert.equal(subscriber.pass(10 * second), '');
    subscriber.availableBps = 700_000;
    assert.equal(subscriber.pass(3 * second), 'C D');
  });

  it('wait longer each time they came back in vain', () => {
    const subscriber = new Subscriber([camera('A'), camera('B')], 400_000);
    subscriber.pass(2 * second);
    const flows: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      const pausedAtMs = subscriber.nowMs;
      subscriber.availableBps = 1_000_000;
      while (subscriber.paused !== '') subscriber.pass(second);
      flows.push(subscriber.nowMs - pausedAtMs);
      subscriber.availableBps = 400_000;
      while (subscriber.paused === '') subscriber.pass(second);
    }
    const grows = flows.every((waited, index) => index === 0 || waited > 1.5 * (flows[index - 1] ?? 0));
    assert.ok(grows, `they came back after ${flows.join()} ms`);
  });

  it('let less important ones flow that fit, and get the place back when they fit themselves', () => {
    const large = camera('A', { priority: 9, minimumBps: 800_000 });
    const subscriber = new Subscriber([large, camera('B', { minimumBps: 350_000 })], 350_000);
    assert.equal(subscriber.pass(3 * second), 'A');
    subscriber.availableBps = 1_000_000;
    assert.equal(subscriber.pass(2 * second), 'A');
    assert.equal(subscriber.pass(10 * second), 'B');
  });

  it('keep what they took before they were paused', () => {
    const subscriber = new Subscriber([camera('A'), camera('B')], 400_000);
    assert.equal(subscriber.pass(3 * second), 'B');
    subscriber.tracks = [camera('A'), camera('B', { minimumBps: 0 })];
    assert.equal(subscriber.pass(3 * second), 'B');
  });

  it('try now and then how the path is when none of them fits', () => {
    const subscriber = new Subscriber([camera('A'), camera('B', { priority: 1 })], 100_000);
    const seen = new Map<string, number>();
    for (let seconds = 0; seconds < 120; seconds += 1) {
      const paused = subscriber.pass(second);
      seen.set(paused, (seen.get(paused) ?? 0) + 1);
    }
    assert.deepEqual([...seen.keys()], ['', 'A B', 'A']);
    const tried = seen.get('A') ?? 0;
    assert.ok(tried >= 4 && tried <= 15, `it tried for ${tried} s of two minutes`);
  });

  it('are forgotten when they end', () => {
    const subscriber = new Subscriber(four, 600_000);
    subscriber.pass(3 * second);
    subscriber.tracks = four.slice(0, 2);
    assert.equal(subscriber.pass(second), '');
    subscriber.tracks = four;
    assert.equal(subscriber.pass(second), '');
  });

  it('settle under any constant path: what flows fits, and nothing that would fit well waits', () => {
    const track = fc.record({
      trackSid: fc.uuid(),
      priority: fc.nat({ max: 3 }),
      minimumBps: fc.integer({ min: 10_000, max: 2_000_000 }),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(track, { maxLength: 8, selector: ({ trackSid }) => trackSid }),
        fc.integer({ min: 0, max: 6_000_000 }),
        (tracks, availableBps) => {
          fc.pre(tracks.length === 0 || tracks.some(({ minimumBps }) => minimumBps * 1.2 <= availableBps));
          const subscriber = new Subscriber(tracks, availableBps);
          subscriber.pass(120 * second);
          const seconds = 300;
          let overloaded = 0;
          const waiting = new Map<string, number>();
          for (let count = 0; count < seconds; count += 1) {
            subscriber.pass(second);
            const flowing = tracks.filter(({ trackSid }) => !subscriber.control.paused.has(trackSid));
            const usedBps = flowing.reduce((sum, { minimumBps }) => sum + minimumBps, 0);
            overloaded += usedBps > availableBps * 1.1 ? 1 : 0;
            for (const { trackSid, minimumBps } of tracks.filter((one) => !flowing.includes(one))) {
              const wouldFit = (usedBps + minimumBps) * 1.2 <= availableBps;
              waiting.set(trackSid, wouldFit ? (waiting.get(trackSid) ?? 0) + 1 : 0);
            }
          }
          assert.ok(overloaded <= seconds / 15, `too much flowed for ${overloaded} s of ${seconds}`);
          for (const [trackSid, count] of waiting) {
            assert.ok(count <= 60, `${trackSid} waited in vain for ${count} s`);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
