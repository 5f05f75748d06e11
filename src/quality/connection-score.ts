/** How good a participant's connection is, as an R-factor (0 to 100) from loss, delay and missing layers. */
import type { TrackQualityReport } from '../protocol/leg-messages.ts';

/** LiveKit `ConnectionQuality` numbers. */
export type ConnectionQuality = 0 | 1 | 2 | 3;
const poor = 0;
const good = 1;
const excellent = 2;
const lost = 3;

export type ConnectionScore = {
  quality: ConnectionQuality;
  /** Mean opinion score, 1 to 4.5, rounded to 1/10 so that small wobbles are no news. */
  mos: number;
};

const maxScore = 100;
/** Points that one percent of loss costs: video shows it sooner than opus with its concealment. */
const lossWeight = { audio: 8, video: 10 } as const;
/** A score follows a fall faster than a rise, so that a bad connection is not called good between two bursts. */
const riseFactor = 0.4;
const fallFactor = 0.7;
/** Points by which each missing spatial layer lowers the score: one quality level. */
const layerCost = 25;
/**
 * Windows without any packet before a track counts as stopped. livekit-client reconnects after 10 s of its own LOST,
 * so one silent window (a stalled camera, a report that came late) must not count.
 */
const silentWindowsUntilLost = 2;

type Window = {
  kind: 'audio' | 'video';
  publish: boolean;
  packets: number;
  packetsLost: number;
  rttMs: number;
  jitterMs: number;
  missingLayers: number;
  idleReports: number;
  reports: number;
};

type TrackState = { window: Window; silentWindows: number; score: number };

/** Collects the reports of one participant's tracks and scores them once per window. */
export class ConnectionScorer {
  readonly #tracks = new Map<string, TrackState>();

  add(report: TrackQualityReport): void {
    const key = `${report.direction}:${report.trackSid}`;
    const state = this.#tracks.get(key) ?? { window: emptyWindow(report), silentWindows: 0, score: maxScore };
    this.#tracks.set(key, state);
    const window = state.window;
    window.reports += 1;
    window.idleReports += report.idle ? 1 : 0;
    window.packets += report.packets;
    window.packetsLost += report.packetsLost;
    window.rttMs = Math.max(window.rttMs, report.rttMs);
    window.jitterMs = Math.max(window.jitterMs, report.jitterMs);
    window.missingLayers = Math.max(report.wantedLayer - report.currentLayer, 0);
  }

  /** Ends a window: the worst of all tracks. Without tracks the connection is excellent. */
  score(): ConnectionScore {
    let worst = maxScore;
    let isLost = false;
    for (const [key, state] of this.#tracks) {
      const { window } = state;
      if (window.reports === 0) {
        // No longer reported: the track is gone.
        this.#tracks.delete(key);
        continue;
      }
      if (window.idleReports === 0) {
        isLost = scoreTrack(state) || isLost;
        worst = Math.min(worst, state.score);
      } else {
        state.silentWindows = 0;
      }
      state.window = emptyWindow({ kind: window.kind, direction: window.publish ? 'publish' : 'subscribe' });
    }
    if (isLost) {
      return { quality: lost, mos: 1 };
    }
    return { quality: toQuality(worst), mos: toMos(worst) };
  }
}

function emptyWindow(of: { kind: 'audio' | 'video'; direction: 'publish' | 'subscribe' }): Window {
  return {
    kind: of.kind,
    publish: of.direction === 'publish',
    packets: 0,
    packetsLost: 0,
    rttMs: 0,
    jitterMs: 0,
    missingLayers: 0,
    idleReports: 0,
    reports: 0,
  };
}

/** True when the track counts as lost. Only publications can be: a subscription without packets is its publisher's fault. */
function scoreTrack(state: TrackState): boolean {
  const { window } = state;
  const expected = window.packets + window.packetsLost;
  if (expected === 0) {
    state.silentWindows += window.publish ? 1 : 0;
    return state.silentWindows >= silentWindowsUntilLost;
  }
  state.silentWindows = 0;
  const lossPercent = (Math.max(window.packetsLost, 0) / expected) * 100;
  const now = Math.max(
    0,
    maxScore - lossPercent * lossWeight[window.kind] - delayCost(window) - window.missingLayers * layerCost,
  );
  state.score += (now - state.score) * (now > state.score ? riseFactor : fallFactor);
  return false;
}

/** The delay part of the simplified E-model (ITU-T G.107): gentle up to 160 ms, steep beyond. */
function delayCost(window: Window): number {
  const effectiveDelayMs = window.rttMs / 2 + window.jitterMs * 2;
  return effectiveDelayMs < 160 ? effectiveDelayMs / 40 : (effectiveDelayMs - 120) / 10;
}

function toQuality(score: number): ConnectionQuality {
  if (score > 80) {
    return excellent;
  }
  // LOST is for media that stopped; media that arrives badly is poor, however bad.
  return score > 40 ? good : poor;
}

/** R-factor to mean opinion score (ITU-T G.107 annex B). */
function toMos(score: number): number {
  const mos = 1 + 0.035 * score + score * (score - 60) * (100 - score) * 7e-6;
  return Math.round(Math.min(Math.max(mos, 1), 4.5) * 10) / 10;
}
