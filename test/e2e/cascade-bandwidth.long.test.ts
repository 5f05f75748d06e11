/** Bandwidth estimation of a subscriber works for what comes through a pipe as it does for what is published beside it. */
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import type { Reroute } from '../kit/light/light-subscriber.ts';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { joinToken } from '../kit/tokens.ts';
import { UdpRelay } from '../kit/udp-relay.ts';
import { until } from '../kit/until.ts';

describe('a narrow path to a subscriber on another worker than the publisher', () => {
  let node: InProcessNode;
  let endpoint: LightEndpoint;
  let relay: UdpRelay;

  before(async () => {
    endpoint = await LightEndpoint.start();
    node = await startNode({ config: { rtc: { workers: 2, max_viewers_per_worker: 1 } } });
    // The second participant is on the second worker, which has the second port.
    const port = node.config.rtc.port_range_start + 1;
    relay = await UdpRelay.start({
      target: { address: '127.0.0.1', port },
      down: { delayMs: 10 },
      up: { delayMs: 10 },
    });
  });

  after(async () => {
    await node.close();
    relay.close();
    await endpoint.close();
  });

  async function join(identity: string, reroute: Reroute): Promise<LightClient> {
    const token = await joinToken({ room: 'room', identity });
    return LightClient.join({ url: node.url, token, endpoint, dynacast: false, reroute });
  }

  it('gets what fits, and all of it when the path is wide again', async () => {
    const sender = await join('sender', (candidate) => candidate);
    const viewer = await join('viewer', () => ({ address: '127.0.0.1', port: relay.port }));
    const trackSid = await sender.publishVideo({ simulcast: true, width: 1280, height: 720, bitrateBps: 1_500_000 });
    await viewer.waitForTrack(trackSid, { keyFrame: true });
    /** Of packets, over a second and a half. */
    const measure = async (): Promise<{ passedBps: number; overflowed: number }> => {
      const before = { ...relay.counters.down, bytes: (await viewer.stats(trackSid)).bytes };
      await delay(1500);
      const { bytes } = await viewer.stats(trackSid);
      return {
        passedBps: ((bytes - before.bytes) * 8) / 1.5,
        overflowed: relay.counters.down.overflowed - before.overflowed,
      };
    };
    const untilIt = (isFine: (path: { passedBps: number; overflowed: number }) => boolean): Promise<void> =>
      until(
        async () => {
          const path = await measure();
          return isFine(path) ? '' : JSON.stringify(path);
        },
        { timeoutMs: 40_000 },
      );
    await untilIt(({ passedBps }) => passedBps > 1_200_000);
    relay.setDown({ delayMs: 10, rateBps: 500_000 });
    await untilIt(({ passedBps, overflowed }) => overflowed === 0 && passedBps > 50_000 && passedBps < 500_000);
    relay.setDown({ delayMs: 10 });
    await untilIt(({ passedBps }) => passedBps > 1_200_000);
    await sender.leave();
    await viewer.leave();
  });
});
