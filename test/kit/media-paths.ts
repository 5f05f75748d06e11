import type { PageWindow } from './browser.ts';
import type { BrowserPeer } from './browser-peer.ts';
import { until } from './until.ts';

/** Only meaningful inside functions that run in the page. */
declare const window: PageWindow;

/** How media of a page travels: kind and protocol of the local candidates that are in use. */
export async function mediaPaths(peer: BrowserPeer): Promise<string[]> {
  return peer.page.evaluate(async () => {
    const { publisher, subscriber } = window.room.engine.pcManager as unknown as Record<
      string,
      { getStats(): Promise<Iterable<[string, object]>> }
    >;
    const found: string[] = [];
    for (const connection of [publisher, subscriber]) {
      const entries = [...((await connection?.getStats()) ?? [])].map(([, entry]) => entry as Record<string, unknown>);
      const transport = entries.find((entry) => entry['type'] === 'transport');
      const pair = entries.find((entry) => entry['id'] === transport?.['selectedCandidatePairId']);
      const local = entries.find((entry) => entry['id'] === pair?.['localCandidateId']);
      if (local) found.push([local['candidateType'], local['relayProtocol'] ?? local['protocol']].join(' '));
    }
    return found;
  }, undefined);
}

/** Waits until the one decodes pictures of the other again, who may have joined anew and then has published anew. */
export async function pictureGoesOn(from: BrowserPeer, to: BrowserPeer): Promise<void> {
  let seen: { sid: string; frames: number } | undefined;
  await until(
    async () => {
      const [sid = ''] = await from.published();
      const frames = (await to.page.lookAt(sid))?.framesDecoded ?? 0;
      if (seen?.sid !== sid) seen = { sid, frames };
      return frames > seen.frames + 10 ? '' : `${to.identity} has ${frames} frames of ${sid}`;
    },
    { timeoutMs: 60_000, intervalMs: 100 },
  );
}
