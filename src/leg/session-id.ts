import { randomInt } from 'node:crypto';

/** RFC 8866 section 5.2: a number that no other session of this origin has. */
export function sdpSessionId(): string {
  return String(randomInt(2 ** 47));
}
