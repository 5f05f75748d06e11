import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LightEndpoint } from '../../test/kit/light/light-endpoint.ts';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { until } from '../../test/kit/until.ts';
import { routerCodecs } from '../sdp/capabilities.ts';

/** SCTP's first retransmission, on both sides. */
const retransmissionMs = 1000;

it('data channels open at once when DTLS was faster than the answer with its fingerprint', async (t) => {
  const pool = await startTestPool({ portRangeStart: 51_350 });
  t.after(() => pool.close());
  const endpoint = await LightEndpoint.start();
  t.after(() => endpoint.close());
  const router = await pool.leastLoaded().createRouter({ mediaCodecs: routerCodecs(['audio/opus']) });
  const transport = await router.createPeerTransport();
  const data = await transport.openDataSubscriber();
  const peer = endpoint.open({ sctp: true });
  const { ice, candidates, fingerprint } = transport.local;
  peer.setRemote({
    ufrag: ice.usernameFragment,
    password: ice.password,
    fingerprint: fingerprint.value,
    candidates: candidates.filter(({ protocol }) => protocol === 'udp'),
  });
  // The client is through with DTLS, and with it its SCTP has begun to call.
  await peer.waitConnected();
  assert.equal(transport.state, 'connecting');

  const startMs = performance.now();
  await transport.connect({ role: 'client', fingerprints: [{ algorithm: 'sha-256', value: endpoint.fingerprint }] });
  await until(() => (data.isOpen('_reliable') && data.isOpen('_lossy') ? '' : 'not open'), { intervalMs: 5 });
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs < retransmissionMs * 0.7, `open after ${tookMs} ms`);
  await peer.close();
});
