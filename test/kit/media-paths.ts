import type { PageWindow } from './browser.ts';
import type { BrowserPeer } from './browser-peer.ts';

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
