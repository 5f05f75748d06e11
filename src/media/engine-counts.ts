import type { WorkerPool } from './worker-pool.ts';

export type EngineCounts = {
  routers: number;
  transports: number;
  producers: number;
  consumers: number;
  dataProducers: number;
  dataConsumers: number;
  observers: number;
  /** Objects of any kind that the workers can be asked about; catches what the others do not name. */
  handlers: number;
};

/** What the workers themselves say that they hold. For leak tests and diagnosis: it walks all routers. */
export async function engineCounts(pool: WorkerPool): Promise<EngineCounts> {
  const workers = await Promise.all(pool.workers.map((worker) => worker.dump()));
  const routers = await Promise.all(
    pool.workers.flatMap((worker) => [...worker.routers]).map((router) => router.dump()),
  );
  const total = (counts: number[]): number => counts.reduce((sum, count) => sum + count, 0);
  return {
    routers: total(workers.map((worker) => worker.routerIds.length)),
    transports: total(routers.map((router) => router.transportIds.length)),
    producers: total(routers.map((router) => router.mapProducerIdConsumerIds.length)),
    consumers: total(routers.map((router) => router.mapConsumerIdProducerId.length)),
    dataProducers: total(routers.map((router) => router.mapDataProducerIdDataConsumerIds.length)),
    dataConsumers: total(routers.map((router) => router.mapDataConsumerIdDataProducerId.length)),
    observers: total(routers.map((router) => router.rtpObserverIds.length)),
    handlers: total(workers.map((worker) => worker.channelMessageHandlers.channelRequestHandlers.length)),
  };
}
