/** Where a new participant's transports go. */

export type WorkerLoad = { workerIndex: number; load: number };

/**
 * A room stays on one worker as long as that lives; a new room goes to the least loaded one.
 * @param loads workers that are alive. @returns undefined when there is none.
 */
export function chooseWorker(loads: readonly WorkerLoad[], roomWorkers: ReadonlySet<number>): number | undefined {
  const own = loads.filter((worker) => roomWorkers.has(worker.workerIndex));
  const candidates = own.length > 0 ? own : loads;
  let best: WorkerLoad | undefined;
  for (const worker of candidates) {
    if (best === undefined || worker.load < best.load) {
      best = worker;
    }
  }
  return best?.workerIndex;
}
