import { after, before, describe, it } from 'node:test';
import { freePortRange } from '../../test/kit/free-ports.ts';
import { LightEndpoint } from '../../test/kit/light/light-endpoint.ts';
import type { LightPeer } from '../../test/kit/light/light-peer.ts';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { until } from '../../test/kit/until.ts';
import { routerCodecs } from '../sdp/capabilities.ts';
import type { PeerTransport } from './peer-transport.ts';
import type { RoomRouter } from './room-router.ts';
import type { WorkerPool } from './worker-pool.ts';

describe('a client that comes back from the address and port of a session that died', () => {
  let pool: WorkerPool;
  let endpoint: LightEndpoint;
  let router: RoomRouter;

  before(async () => {
    // So long that nobody who waits for it is done in time.
    pool = await startTestPool({ portRangeStart: 51_200, iceConsentTimeoutSeconds: 60 });
    endpoint = await LightEndpoint.start();
    router = await pool.workers[0]!.createRouter({ mediaCodecs: routerCodecs(['audio/opus']) });
  });

  after(async () => {
    router.close();
    await pool.close();
    await endpoint.close();
  });

  async function connect(port: number): Promise<{ peer: LightPeer; transport: PeerTransport }> {
    const transport = await router.createPeerTransport();
    await transport.connect({
      role: 'client',
      fingerprints: [{ algorithm: 'sha-256', value: endpoint.fingerprint }],
    });
    const peer = endpoint.open({ bindAddress: '127.0.0.1', bindPort: port });
    const { ice, candidates, fingerprint } = transport.local;
    peer.setRemote({
      ufrag: ice.usernameFragment,
      password: ice.password,
      candidates: candidates.filter(({ protocol }) => protocol === 'udp'),
      fingerprint: fingerprint.value,
    });
    return { peer, transport };
  }

  it('is connected at once, and the dead session is known to be gone', async (t) => {
    const port = await freePortRange(1);
    const first = await connect(port);
    await first.peer.waitConnected();
    await first.peer.close({ silent: true });
    const startMs = performance.now();
    const second = await connect(port);
    await second.peer.waitConnected();
    t.diagnostic(`connected again after ${Math.round(performance.now() - startMs)} ms`);
    await until(() => (first.transport.state === 'connected' ? 'the dead session counts as connected' : ''));
    await until(() => (second.transport.state === 'connected' ? '' : second.transport.state));
    // The dead session's transport goes, and must not take the address along.
    first.transport.close();
    await second.peer.close({ silent: true });
    const third = await connect(port);
    await third.peer.waitConnected();
    await third.peer.close();
  });
});
