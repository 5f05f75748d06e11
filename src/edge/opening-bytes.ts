import type { Duplex } from 'node:stream';

export type OpeningOptions<Decision> = {
  /** Undefined: more is needed. */
  decide: (bytes: Buffer) => Decision | undefined;
  /** More than this without a decision ends the wait. */
  maxBytes: number;
  /** For a decision. */
  timeoutMs: number;
};

export type Opening<Decision> = { decision: Decision; bytes: Buffer };

/**
 * Looks at how a connection begins. What was read is handed out and not put back; the stream is paused.
 * @returns undefined when it ended, took too long or said too much, and then it is destroyed
 */
export function readOpening<Decision>(
  stream: Duplex,
  { decide, maxBytes, timeoutMs }: OpeningOptions<Decision>,
): Promise<Opening<Decision> | undefined> {
  const { promise, resolve } = Promise.withResolvers<Opening<Decision> | undefined>();
  let bytes: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    const decision = decide(bytes);
    if (decision !== undefined) {
      stream.pause();
      finish({ decision, bytes });
    } else if (bytes.length > maxBytes) {
      fail();
    }
  };
  const fail = (): void => {
    finish(undefined);
    stream.destroy();
  };
  const finish = (result: Opening<Decision> | undefined): void => {
    clearTimeout(timer);
    stream.off('data', onData).off('end', fail).off('close', fail);
    resolve(result);
  };
  const timer = setTimeout(fail, timeoutMs);
  stream.on('data', onData).on('end', fail).on('close', fail);
  return promise;
}
