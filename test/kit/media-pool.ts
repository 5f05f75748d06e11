import type { MediaSettings } from '../../src/media/media-types.ts';
import { WorkerPool } from '../../src/media/worker-pool.ts';
import { createLog } from '../../src/observe/log.ts';

/** A pool on loopback for tests. Log level by `PLENUM_TEST_LOG`. */
export function startTestPool(settings: Partial<MediaSettings> = {}): Promise<WorkerPool> {
  return WorkerPool.start({
    log: createLog({ level: process.env['PLENUM_TEST_LOG'] ?? 'silent', json: true }),
    restartDelayMs: 20,
    settings: {
      workers: 1,
      listenAddress: '127.0.0.1',
      announcedAddresses: ['127.0.0.1'],
      portRangeStart: 51_000,
      portRangeEnd: 51_400,
      enableUdp: true,
      enableTcp: true,
      iceConsentTimeoutSeconds: 10,
      initialBitrateBps: 3_000_000,
      loudestAudio: { forwarded: 0, from: 1 },
      alwaysEstimatesBandwidth: false,
      reliableQueueBytes: 16_000_000,
      pipes: { address: '127.0.0.1', portRangeStart: 20_000, portRangeEnd: 29_999 },
      ...settings,
    },
  });
}
