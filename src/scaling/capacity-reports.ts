/** Lets anybody in the cluster ask the master that leads capacity what it sees and has decided. */
import { decode, encode } from '@msgpack/msgpack';
import type { ClusterBus, Unsubscribe } from '../cluster/store.ts';
import { capacityReportSchema, type ShownCapacity } from '../protocol/capacity-report.ts';
import type { CapacityReport } from './capacity-controller.ts';
import { nobodyLeads } from './errors.ts';

const topics = { ask: 'capacity-ask', report: 'capacity-report' };
const answerMs = 3_000;
/** A message on the bus is small; the newest decisions matter. */
const decisionsShown = 50;

export type CapacityReportsOptions = { bus: ClusterBus; provider: string; report: () => CapacityReport | undefined };

/** Answers questions while this master leads. */
export async function serveCapacityReports({ bus, provider, report }: CapacityReportsOptions): Promise<Unsubscribe> {
  return bus.subscribe(topics.ask, () => {
    const current = report();
    if (current !== undefined) {
      const decisions = current.decisions.slice(-decisionsShown);
      const message = encode({ ...current, provider, decisions }, { ignoreUndefined: true });
      // Who asked hears nothing then, and asks again.
      bus.publish(topics.report, message).catch(() => undefined);
    }
  });
}

/** @throws PlenumError `nobody-leads` when no master answers */
export async function askCapacityReport(bus: ClusterBus): Promise<ShownCapacity> {
  const { promise, resolve, reject } = Promise.withResolvers<ShownCapacity>();
  const unsubscribe = await bus.subscribe(topics.report, (message) => {
    const parsed = capacityReportSchema.safeParse(decode(message));
    if (parsed.success) {
      resolve(parsed.data);
    }
  });
  const late = setTimeout(() => reject(nobodyLeads()), answerMs);
  try {
    await bus.publish(topics.ask, new Uint8Array());
    return await promise;
  } finally {
    clearTimeout(late);
    unsubscribe();
  }
}
