import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DisconnectReason, LeaveRequest_Action } from '@livekit/protocol';
import { RoomServiceClient } from 'livekit-server-sdk';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { JoinRefused } from '../kit/light/light-signal.ts';
import { startNodeProcess, type ProcessNode } from '../kit/node.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

describe('a server that is stopped', () => {
  let endpoint: LightEndpoint;
  before(async () => {
    endpoint = await LightEndpoint.start();
  });
  after(() => endpoint.close());

  async function startCall(node: ProcessNode): Promise<LightClient[]> {
    const join = async (identity: string, audio: boolean): Promise<LightClient> =>
      LightClient.join({
        url: node.url,
        token: await joinToken({ room: 'stop', identity }),
        endpoint,
        publish: { audio },
      });
    const publisher = await join('publisher', true);
    const subscriber = await join('subscriber', false);
    await subscriber.waitForTrack(publisher.publishedTrackSids[0] ?? '', { contiguousMs: 200 });
    return [publisher, subscriber];
  }

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`tells its clients when the whole process group gets ${signal}, and ends with code 0 and no error`, async () => {
      const node = await startNodeProcess({ ownGroup: true });
      const clients = await startCall(node);
      const code = node.endGroup(signal);
      for (const client of clients) {
        const leave = await client.waitForLeave();
        assert.equal(leave.reason, DisconnectReason.SERVER_SHUTDOWN);
        assert.equal(leave.action, LeaveRequest_Action.DISCONNECT);
        await client.waitFor(() => client.socketCloseCode !== undefined, 'close of the socket');
      }
      assert.equal(await code, 0, node.log.tail());
      assert.deepEqual(node.log.unexpectedErrors(), []);
      assert.ok(node.log.lines.some((line) => line.msg === 'stopped'));
      for (const client of clients) await client.abandon();
    });
  }

  it('waits for its last room where the configuration says so, takes no other one, and ends with code 0', async () => {
    const node = await startNodeProcess({ ownGroup: true, config: { drain: { alone: true, deadline: 60 } } });
    const clients = await startCall(node);
    const code = node.endGroup('SIGTERM');
    await until(() => (node.log.lines.some((line) => line['state'] === 'DRAINING') ? '' : 'it does not drain yet'));
    const late = LightClient.join({
      url: node.url,
      token: await joinToken({ room: 'another', identity: 'late' }),
      endpoint,
    });
    await assert.rejects(late, (error) => error instanceof JoinRefused && error.status === 503);
    const [publisher, subscriber] = clients;
    await subscriber?.waitForTrack(publisher?.publishedTrackSids[0] ?? '', { contiguousMs: 300 });
    for (const client of clients) {
      assert.equal(client.leaveReceived, undefined);
      await client.leave();
    }
    const service = new RoomServiceClient(node.url, devKey.apiKey, devKey.apiSecret);
    await service.deleteRoom('stop');
    assert.equal(await code, 0, node.log.tail());
    assert.deepEqual(node.log.unexpectedErrors(), []);
  });
});
