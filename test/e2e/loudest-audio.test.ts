import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

describe('a room with more microphones than are forwarded', () => {
  let node: InProcessNode;
  let endpoint: LightEndpoint;

  before(async () => {
    node = await startNode({ config: { audio: { loudest_forwarded: 1, loudest_from: 2 } } });
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await node?.close();
  });

  async function join(identity: string, levelDbov?: number): Promise<LightClient> {
    const publish = levelDbov === undefined ? {} : { publish: { audio: { levelDbov } } };
    return LightClient.join({
      url: node.url,
      token: await joinToken({ room: 'crowd', identity }),
      endpoint,
      ...publish,
    });
  }

  function speak(client: LightClient, levelDbov: number): void {
    for (const { ssrc } of client.publishedTracks.flatMap(({ streams }) => streams)) {
      client.publisherPeer?.setPublished(ssrc, { levelDbov });
    }
  }

  it('lets through who is loudest, without a gap in what a listener counts', async () => {
    const ana = await join('ana', 20);
    const ben = await join('ben', 60);
    const listener = await join('listener');
    const [anas = ''] = ana.publishedTrackSids;
    const [bens = ''] = ben.publishedTrackSids;
    await listener.waitForTrack(anas, { contiguousMs: 300 });
    await listener.waitFor(() => listener.subscribedTrackSids.includes(bens), 'offer of the other track');

    const goesSilent = async (sid: string): Promise<void> =>
      until(async () => {
        const { silentMs, packets } = await listener.stats(sid);
        return packets === 0 || silentMs > 200 ? '' : `silent for ${silentMs} ms`;
      });
    await goesSilent(bens);

    // Each turn: the other one gets louder, is heard, and the first one is not any more.
    for (const [louder, sid, quieter, otherSid] of [
      [ben, bens, ana, anas],
      [ana, anas, ben, bens],
      [ben, bens, ana, anas],
    ] as const) {
      speak(quieter, 60);
      speak(louder, 10);
      await listener.stats(sid, { reset: true });
      await until(async () => {
        const { silentMs, packets } = await listener.stats(sid);
        return packets > 0 && silentMs < 100 ? '' : `silent for ${silentMs} ms`;
      });
      await goesSilent(otherSid);
    }
    for (const sid of [anas, bens]) {
      const { lost, duplicates, restarts, undecryptable } = await listener.stats(sid);
      assert.deepEqual(
        { lost, duplicates, restarts, undecryptable },
        { lost: 0, duplicates: 0, restarts: 0, undecryptable: 0 },
      );
    }
    for (const client of [ana, ben, listener]) await client.leave();
  });
});
