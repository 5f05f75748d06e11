import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { createWorker, type types } from 'mediasoup';
import { routerCodecs } from '../sdp/capabilities.ts';
import { adoptTransport } from './adopt-transport.ts';
import { opusParameters } from './rtp-fixtures.ts';

const listen: types.WebRtcTransportOptions = {
  listenInfos: [{ protocol: 'udp', ip: '127.0.0.1', portRange: { min: 51_500, max: 51_599 } }],
  enableSctp: true,
};

async function startRouter(t: TestContext): Promise<types.Router> {
  const worker = await createWorker({ logLevel: 'none' });
  t.after(() => worker.close());
  return worker.createRouter({ mediaCodecs: routerCodecs(['audio/opus']) as types.RouterRtpCodecCapability[] });
}

async function openTransport(router: types.Router): Promise<types.WebRtcTransport> {
  const transport = await router.createWebRtcTransport(listen);
  adoptTransport(router, transport);
  return transport;
}

describe('what is made while its parent closes', () => {
  it('is closed, and the router forgets it, when the transport went', async (t) => {
    const router = await startRouter(t);
    const sender = await openTransport(router);
    const audio = await sender.produce({
      kind: 'audio',
      rtpParameters: opusParameters({ ssrc: 1 }) as types.RtpParameters,
    });
    const data = await sender.produceData({ sctpStreamParameters: { streamId: 0 } });

    const transport = await openTransport(router);
    const making = [
      transport.produce({ kind: 'audio', rtpParameters: opusParameters({ ssrc: 2 }) as types.RtpParameters }),
      transport.produceData({ sctpStreamParameters: { streamId: 1 } }),
      transport.consume({ producerId: audio.id, rtpCapabilities: router.rtpCapabilities }),
      transport.consumeData({ dataProducerId: data.id }),
    ];
    transport.close();

    const made = await Promise.all(making);
    assert.deepEqual(
      made.map(({ closed }) => closed),
      [true, true, true, true],
    );
    assert.ok(!router.canConsume({ producerId: made[0]?.id ?? '', rtpCapabilities: router.rtpCapabilities }));
  });

  it('is closed and refused when the router went', async (t) => {
    const router = await startRouter(t);
    const making = router.createWebRtcTransport(listen);
    router.close();

    const transport = await making;
    assert.throws(() => adoptTransport(router, transport), { reason: 'media-closed' });
    assert.ok(transport.closed);
  });

  it('is left alone while both are open', async (t) => {
    const router = await startRouter(t);
    const transport = await openTransport(router);
    const data = await transport.produceData({ sctpStreamParameters: { streamId: 0 } });
    assert.ok(!data.closed && !transport.closed);
  });
});
