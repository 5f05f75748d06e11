/** One webhook to one URL: posted, retried where a retry can help, abandoned when told so. */
import { setTimeout as delay } from 'node:timers/promises';

export type PostResult =
  | { kind: 'delivered'; attempts: number }
  /** `reason` is for people; `attempts` were made. */
  | { kind: 'failed'; reason: string; attempts: number }
  | { kind: 'aborted' };

export type Post = {
  url: string;
  body: string;
  headers: Record<string, string>;
  timeoutMs: number;
  /** Waits before the second, third, … attempt; as many retries as there are entries. */
  retryDelaysMs: readonly number[];
  signal: AbortSignal;
};

type Attempt = { kind: 'delivered' } | { kind: 'final'; reason: string } | { kind: 'retryable'; reason: string };

/** A receiver's answer up to this size is read, so that the connection can be used again. */
const maxDrainedBytes = 64 * 1024;

/** Never rejects. */
export async function postWebhook(post: Post): Promise<PostResult> {
  for (let attempts = 1; ; attempts += 1) {
    const attempt = await tryOnce(post);
    if (attempt.kind === 'delivered') {
      return { kind: 'delivered', attempts };
    }
    if (post.signal.aborted) {
      return { kind: 'aborted' };
    }
    const delayMs = post.retryDelaysMs[attempts - 1];
    if (attempt.kind === 'final' || delayMs === undefined) {
      return { kind: 'failed', reason: attempt.reason, attempts };
    }
    try {
      await delay(delayMs, undefined, { signal: post.signal });
    } catch {
      return { kind: 'aborted' };
    }
  }
}

async function tryOnce(post: Post): Promise<Attempt> {
  try {
    const response = await fetch(post.url, {
      method: 'POST',
      body: post.body,
      headers: post.headers,
      // Following a redirect would turn the POST into a GET with most statuses.
      redirect: 'manual',
      signal: AbortSignal.any([post.signal, AbortSignal.timeout(post.timeoutMs)]),
    });
    await discardBody(response);
    if (response.ok) {
      return { kind: 'delivered' };
    }
    const reason = `HTTP status ${response.status}`;
    return { kind: response.status >= 500 ? 'retryable' : 'final', reason };
  } catch (error) {
    return { kind: 'retryable', reason: describe(error) };
  }
}

async function discardBody(response: Response): Promise<void> {
  try {
    const lengthBytes = Number(response.headers.get('content-length') ?? Number.NaN);
    if (lengthBytes <= maxDrainedBytes) {
      await response.arrayBuffer();
    } else {
      await response.body?.cancel();
    }
  } catch {
    // The status is the answer; a body that breaks off changes nothing.
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  // fetch says "fetch failed" and keeps what happened in the cause.
  return error.cause instanceof Error ? error.cause.message : error.message;
}
