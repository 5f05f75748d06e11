/** When a certificate is renewed. Nothing here assumes how long certificates live. Times are Unix milliseconds. */
import type { CertificateFacts } from './certificate.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** Renewals of many installations must not fall on the same moment; each certificate has its own, the same on all nodes. */
const jitterShare = 0.05;

/** After two thirds of its life, up to a twentieth of it earlier. */
export function renewalTimeMs(facts: CertificateFacts): number {
  const lifeMs = facts.notAfterMs - facts.notBeforeMs;
  const jitter = Number.parseInt(facts.fingerprint.slice(0, 8), 16) / 0xff_ff_ff_ff;
  return facts.notBeforeMs + lifeMs * (2 / 3 - jitterShare * jitter);
}

export type RetryState = {
  /** Failed attempts in a row, at least 1. */
  failures: number;
  /** The authority said that it was asked too often. */
  isRateLimited: boolean;
};

/**
 * Milliseconds until the next attempt: 30 s, doubling up to 6 h; at least an hour after a rate limit. Let's Encrypt counts
 * failed validations per hour (5) and duplicates per week.
 * @param share of the delay that is cut off at random, 0 to 1, so that masters that lost an election do not come together
 */
export function retryDelayMs({ failures, isRateLimited }: RetryState, share: number): number {
  const base = isRateLimited ? hourMs : minuteMs / 2;
  const delayMs = Math.min(base * 2 ** Math.min(failures - 1, 20), 6 * hourMs);
  return Math.round(delayMs * (1 - share / 4));
}
