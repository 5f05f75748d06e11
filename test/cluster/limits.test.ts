import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { TestCluster } from '../kit/cluster.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { until } from '../kit/until.ts';
import { joinToken } from '../kit/tokens.ts';

describe('a cluster at its limits', () => {
  let cluster: TestCluster;
  let endpoint: LightEndpoint;

  before(async () => {
    cluster = await TestCluster.start({ masters: 1, media: 2, config: { node_limit: { participants: 1 } } });
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await cluster?.close();
  });

  const join = async (identity: string): Promise<LightClient> =>
    LightClient.join({ url: cluster.url(0), token: await joinToken({ room: 'full', identity }), endpoint });

  it('refuses one participant too many with 503 and the reason, and takes one when another has left', async () => {
    const alice = await join('alice');
    const bob = await join('bob');
    await assert.rejects(join('carol'), (error: Error & { status?: number; body?: string }) => {
      assert.equal(error.status, 503);
      assert.match(error.body ?? '', /no media node can take another participant: .*participants 1 of 1/);
      return true;
    });
    await bob.leave();
    let carol: LightClient | undefined;
    await until(async () => {
      carol = await join('carol').catch(() => undefined);
      return carol === undefined ? 'no node takes carol' : '';
    });
    await Promise.all([alice.leave(), carol?.leave()]);
  });
});
