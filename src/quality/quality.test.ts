import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ParticipantSid, TrackSid } from '../protocol/ids.ts';
import type { DeclaredLayer, TrackQualityReport } from '../protocol/leg-messages.ts';
import { ConnectionScorer } from './connection-score.ts';
import { Dynacast } from './dynacast.ts';
import { chooseQuality, type TrackSettings } from './layers.ts';
import { Speakers } from './speakers.ts';

const layers: DeclaredLayer[] = [
  { quality: 2, width: 1280, height: 720, bitrateBps: 0 },
  { quality: 0, width: 320, height: 180, bitrateBps: 0 },
  { quality: 1, width: 640, height: 360, bitrateBps: 0 },
];

describe('chooseQuality', () => {
  const settings = (changes: Partial<TrackSettings>): TrackSettings => ({
    disabled: false,
    quality: 2,
    width: 0,
    height: 0,
    fps: 0,
    priority: 0,
    ...changes,
  });

  for (const [name, given, adaptive, expected] of [
    ['nothing asked, adaptive', undefined, true, 0],
    ['nothing asked', undefined, false, 2],
    ['a quality', settings({ quality: 1 }), true, 1],
    ['a thumbnail wins over the quality', settings({ width: 160, height: 90 }), true, 0],
    ['exactly a layer', settings({ width: 640, height: 360 }), true, 1],
    ['a little more than a layer', settings({ width: 642, height: 362 }), true, 2],
    ['portrait', settings({ width: 360, height: 640 }), true, 1],
    ['more than there is', settings({ width: 3840, height: 2160 }), true, 2],
  ] as const) {
    it(`${name} → ${expected}`, () => assert.equal(chooseQuality(layers, given, adaptive), expected));
  }

  it('takes the quality when no layer is declared', () => {
    assert.equal(chooseQuality([], settings({ quality: 0, width: 640, height: 360 }), true), 0);
  });
});

describe('Dynacast', () => {
  const [alice, bob] = ['PA_a', 'PA_b'] as ParticipantSid[] as [ParticipantSid, ParticipantSid];

  it('raises at once, lowers after the delay, and forgets to lower when the wish returns', () => {
    const dynacast = new Dynacast(['vp8'], 5_000);
    dynacast.setWish(alice, 'vp8', 2);
    assert.equal(dynacast.settle(0), false);
    dynacast.setWish(alice, 'vp8', 0);
    assert.equal(dynacast.settle(100), false);
    assert.equal(dynacast.deadlineMs(), 5_100);
    dynacast.setWish(bob, 'vp8', 2);
    assert.equal(dynacast.settle(200), false);
    assert.equal(dynacast.deadlineMs(), undefined);
    dynacast.setWish(bob, 'vp8', undefined);
    assert.equal(dynacast.settle(300), false);
    assert.equal(dynacast.settle(5_300), true);
    assert.deepEqual(dynacast.reported(), [{ codec: 'vp8', maximum: 0 }]);
    dynacast.setWish(bob, 'vp8', 1);
    assert.equal(dynacast.settle(5_301), true);
    assert.deepEqual(dynacast.reported(), [{ codec: 'vp8', maximum: 1 }]);
  });

  it('counts each codec for itself and a backup as off until somebody wants it', () => {
    const dynacast = new Dynacast(['av1', 'vp8'], 1_000);
    dynacast.setWish(alice, 'av1', 2);
    assert.equal(dynacast.settle(0), false);
    assert.deepEqual(
      dynacast.reported().map((entry) => entry.maximum),
      [2, -1],
    );
    dynacast.setWish(bob, 'vp8', 1);
    assert.equal(dynacast.settle(1), true);
    assert.deepEqual(
      dynacast.reported().map((entry) => entry.maximum),
      [2, 1],
    );
    dynacast.setWish(alice, 'h264', 2);
    dynacast.settle(2);
    assert.equal(dynacast.settle(1_002), true);
    assert.deepEqual(
      dynacast.reported().map((entry) => entry.maximum),
      [-1, 1],
    );
  });
});

describe('Speakers', () => {
  const create = () =>
    new Speakers<string>({ activeLevelDbov: 35, minPercentile: 40, intervalMs: 400, smoothIntervals: 2 });

  it('calls loud voices active, in steps of an eighth, and tells only changes', () => {
    const speakers = create();
    speakers.observe('a', 0);
    const [change] = speakers.tick();
    assert.equal(change?.speaking.active, true);
    assert.equal(((change?.speaking.level ?? 0) * 8) % 1, 0);
    let changes = 0;
    for (let tick = 0; tick < 10; tick += 1) {
      speakers.observe('a', 0);
      changes += speakers.tick().length;
    }
    assert.ok(changes <= 3, `${changes} changes for a steady voice`);
  });

  it('ignores what is softer than the level, and holds nobody who is silent', () => {
    const speakers = create();
    speakers.observe('a', 36);
    assert.equal(speakers.busy, true);
    assert.deepEqual(speakers.tick(), []);
    assert.equal(speakers.busy, false);
  });

  it('fades out and ends with level 0', () => {
    const speakers = create();
    speakers.observe('a', 3);
    speakers.tick();
    const changes = Array.from({ length: 10 }, () => speakers.tick()).flat();
    assert.deepEqual(changes.at(-1)?.speaking, { level: 0, active: false });
    assert.equal(speakers.busy, false);
  });

  it('wants the share of the interval', () => {
    const speakers = new Speakers<string>({
      activeLevelDbov: 35,
      minPercentile: 100,
      intervalMs: 400,
      smoothIntervals: 0,
    });
    speakers.observe('a', 3);
    assert.deepEqual(speakers.tick(), []);
    speakers.observe('a', 3);
    speakers.observe('a', 3);
    assert.equal(speakers.tick()[0]?.speaking.active, true);
  });
});

describe('ConnectionScorer', () => {
  const report = (changes: Partial<TrackQualityReport> = {}): TrackQualityReport => ({
    trackSid: 'TR_1' as TrackSid,
    direction: 'publish',
    kind: 'video',
    packets: 500,
    packetsLost: 0,
    bitrateBps: 1_000_000,
    rttMs: 40,
    jitterMs: 5,
    currentLayer: 2,
    wantedLayer: 2,
    idle: false,
    ...changes,
  });
  const scoreOf = (windows: Partial<TrackQualityReport>[]) => {
    const scorer = new ConnectionScorer();
    let score = scorer.score();
    for (const window of windows) {
      scorer.add(report(window));
      score = scorer.score();
    }
    return score;
  };

  for (const [name, windows, expected] of [
    ['no track at all', [], 2],
    ['a clean path', [{}, {}], 2],
    ['5 % loss', [{ packetsLost: 26 }, { packetsLost: 26 }], 1],
    ['20 % loss', [{ packetsLost: 125 }, { packetsLost: 125 }], 0],
    ['a layer missing', [{ currentLayer: 1 }, { currentLayer: 1 }], 1],
    ['a second of delay', [{ rttMs: 1_000 }, { rttMs: 1_000 }], 1],
    ['one silent window', [{}, { packets: 0 }], 2],
    ['two silent windows', [{ packets: 0 }, { packets: 0 }], 3],
    [
      'silence that is meant',
      [
        { packets: 0, idle: true },
        { packets: 0, idle: true },
        { packets: 0, idle: true },
      ],
      2,
    ],
    [
      'a subscription without packets',
      [
        { direction: 'subscribe', packets: 0 },
        { direction: 'subscribe', packets: 0 },
      ],
      2,
    ],
  ] as [string, Partial<TrackQualityReport>[], number][]) {
    it(`${name} → ${['POOR', 'GOOD', 'EXCELLENT', 'LOST'][expected]}`, () =>
      assert.equal(scoreOf(windows).quality, expected));
  }

  it('recovers slower than it falls', () => {
    const bad = { packetsLost: 125 };
    assert.equal(scoreOf([bad, bad, {}]).quality, 1);
    assert.equal(scoreOf([bad, bad, {}, {}, {}, {}]).quality, 2);
  });

  it('forgets tracks that are no longer reported', () => {
    const scorer = new ConnectionScorer();
    scorer.add(report({ packetsLost: 400 }));
    assert.equal(scorer.score().quality, 0);
    assert.deepEqual(scorer.score(), { quality: 2, mos: 4.5 });
  });
});
