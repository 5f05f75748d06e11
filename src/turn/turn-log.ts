/** What coturn says on its standard output, as far as somebody wants to know it. */

export type TurnEvent =
  /** A client got a relay address. */
  | { kind: 'allocated' }
  /** A request was refused with this STUN error code. */
  | { kind: 'refused'; request: 'allocate' | 'peer'; code: number }
  /** An allocation has ended. */
  | { kind: 'ended' }
  /** Since the last report: bytes from and to clients. */
  | { kind: 'usage'; receivedBytes: number; sentBytes: number };

const requests: Record<string, 'allocate' | 'peer'> = {
  ALLOCATE: 'allocate',
  CREATE_PERMISSION: 'peer',
  CHANNEL_BIND: 'peer',
};

/** Undefined for lines that say nothing of interest. */
export function readTurnLine(line: string): TurnEvent | undefined {
  const processed = /incoming packet (\w+) processed, (?:success|error (\d{3}))/.exec(line);
  const request = requests[processed?.[1] ?? ''];
  if (processed !== null && request !== undefined) {
    const code = Number(processed[2] ?? 0);
    // 401 and 438 only ask for credentials and for a fresh nonce.
    if (code !== 0) {
      return code === 401 || code === 438 ? undefined : { kind: 'refused', request, code };
    }
    return request === 'allocate' ? { kind: 'allocated' } : undefined;
  }
  if (/: delete: realm/.test(line)) {
    return { kind: 'ended' };
  }
  const usage = /: usage: .*rb=(\d+), sp=\d+, sb=(\d+)/.exec(line);
  return usage === null ? undefined : { kind: 'usage', receivedBytes: Number(usage[1]), sentBytes: Number(usage[2]) };
}
