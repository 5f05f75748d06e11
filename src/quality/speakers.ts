/** Who speaks: observations of loudness turned into speaking levels once per interval. */

export type SpeakersOptions = {
  /** Loudness that counts as speaking, in dB below full scale. */
  activeLevelDbov: number;
  /** Share of an interval's observations, in percent, that must be that loud. */
  minPercentile: number;
  intervalMs: number;
  smoothIntervals: number;
};

export type Speaking = {
  /** 0 to 1, in steps of 1/8; 0 when not speaking. */
  level: number;
  active: boolean;
};

/** Levels reach the room at most five times a second. */
const observationMs = 200;
const steps = 8;
const silenceDbov = 127;

type Voice = { loudest: number; loudCount: number; smoothed: number; told: Speaking };

export class Speakers<Speaker extends string> {
  readonly #options: SpeakersOptions;
  readonly #threshold: number;
  readonly #smoothing: number;
  readonly #voices = new Map<Speaker, Voice>();

  constructor(options: SpeakersOptions) {
    this.#options = options;
    this.#threshold = toLinear(options.activeLevelDbov);
    this.#smoothing = options.smoothIntervals === 0 ? 1 : 2 / (options.smoothIntervals + 1);
  }

  /** True while somebody is heard or fades out: `tick` has to be called every interval. */
  get busy(): boolean {
    return this.#voices.size > 0;
  }

  /** @param levelDbov loudness of one observation, 0 = loudest, 127 = silence */
  observe(speaker: Speaker, levelDbov: number): void {
    const level = Math.min(Math.max(levelDbov, 0), silenceDbov);
    const voice = this.#voices.get(speaker) ?? { loudest: silenceDbov, loudCount: 0, smoothed: 0, told: silent };
    if (level <= this.#options.activeLevelDbov) {
      voice.loudCount += 1;
      voice.loudest = Math.min(voice.loudest, level);
    }
    this.#voices.set(speaker, voice);
  }

  /** Ends an interval; returns those whose speaking changed. */
  tick(): { speaker: Speaker; speaking: Speaking }[] {
    const expected = Math.max(1, Math.round(this.#options.intervalMs / observationMs));
    const needed = (expected * this.#options.minPercentile) / 100;
    const changes: { speaker: Speaker; speaking: Speaking }[] = [];
    for (const [speaker, voice] of this.#voices) {
      const heard = voice.loudCount >= needed ? toLinear(voice.loudest) : 0;
      voice.smoothed += (heard - voice.smoothed) * this.#smoothing;
      voice.loudCount = 0;
      voice.loudest = silenceDbov;
      const speaking = this.#toSpeaking(voice.smoothed);
      if (speaking.active !== voice.told.active || speaking.level !== voice.told.level) {
        changes.push({ speaker, speaking });
        voice.told = speaking;
      }
      if (heard === 0 && !speaking.active) {
        this.#voices.delete(speaker);
      }
    }
    return changes;
  }

  /** As listeners were told last. */
  current(speaker: Speaker): Speaking {
    return this.#voices.get(speaker)?.told ?? silent;
  }

  /** The speaker is gone or muted; true when it counted as speaking and listeners have to be told that it ended. */
  remove(speaker: Speaker): boolean {
    const wasActive = this.#voices.get(speaker)?.told.active ?? false;
    this.#voices.delete(speaker);
    return wasActive;
  }

  #toSpeaking(smoothed: number): Speaking {
    if (smoothed < this.#threshold) {
      return silent;
    }
    return { level: Math.min(1, Math.ceil(smoothed * steps) / steps), active: true };
  }
}

const silent: Speaking = { level: 0, active: false };

function toLinear(levelDbov: number): number {
  return 10 ** (-levelDbov / 20);
}
