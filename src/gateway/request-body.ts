import type { IncomingMessage } from 'node:http';

export type BodyResult = { ok: true; body: Uint8Array } | { ok: false; why: 'too-large' | 'gone' };

/** Reads a whole body, but never holds more than the limit; how long it may take is the server's request timeout. */
export function readBody(request: IncomingMessage, limitBytes: number): Promise<BodyResult> {
  const { promise, resolve } = Promise.withResolvers<BodyResult>();
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) {
    resolve({ ok: false, why: 'too-large' });
    return promise;
  }
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  request.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes > limitBytes) {
      chunks.length = 0;
      resolve({ ok: false, why: 'too-large' });
    } else {
      chunks.push(chunk);
    }
  });
  request.on('end', () => resolve({ ok: true, body: Buffer.concat(chunks) }));
  request.on('error', () => resolve({ ok: false, why: 'gone' }));
  request.on('close', () => resolve({ ok: false, why: 'gone' }));
  return promise;
}
