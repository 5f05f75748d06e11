/** Errors of this folder: what a session description can be refused for. All are the client's fault. */
import { PlenumError } from '../lib/errors.ts';

/** A description breaks a bound; `details` name the bound and its limit. */
export function descriptionTooLarge(what: 'bytes' | 'lines' | 'sections' | 'line-bytes', limit: number): PlenumError {
  return new PlenumError({
    code: 'resource_exhausted',
    reason: 'sdp-too-large',
    message: `session description has too many ${what}; the limit is ${limit}`,
    details: { what, limit: String(limit) },
  });
}

/** The text is not SDP, or one of the lines that give it structure is broken. */
export function malformedDescription(problem: string): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'sdp-malformed',
    message: `session description is malformed: ${problem}`,
  });
}

/** Two sections with one mid: nothing could tell their packets apart. */
export function duplicateMid(mid: string): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'sdp-duplicate-mid',
    message: 'two sections of the session description have the same mid',
    details: { mid },
  });
}

/** Without an ICE user fragment and password, or without a fingerprint, no transport can be set up. */
export function missingTransport(what: 'ice' | 'dtls'): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: what === 'ice' ? 'sdp-missing-ice' : 'sdp-missing-dtls',
    message:
      what === 'ice'
        ? 'session description has no ICE user fragment and password'
        : 'session description has no usable DTLS fingerprint',
  });
}

/** Plenum has one transport per peer connection, so that all sections must be bundled (RFC 9143). */
export function notBundled(mid: string): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'sdp-not-bundled',
    message: 'a section of the session description is not in the BUNDLE group',
    details: { mid },
  });
}

/** The answer does not fit the offer that it claims to answer (RFC 3264 section 6). */
export function answerMismatch(problem: string): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'sdp-answer-mismatch',
    message: `answer does not fit the offer: ${problem}`,
  });
}
