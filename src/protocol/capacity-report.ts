/** What the master that leads capacity tells about it. Masters tell each other, the admin API and command lines. */
import { z } from 'zod';

export const adminCapacityPath = '/admin/v1/capacity';

export const capacityReportSchema = z.looseObject({
  /** The master that decides. */
  leader: z.string(),
  /** Where machines come from: `azure`, or `static` when people make them. */
  provider: z.string(),
  demand: z.looseObject({
    /** Media nodes that the load asks for, between minimum and maximum. */
    nodes: z.number(),
    /** The metric that decides; not there when the minimum does. */
    because: z.string().optional(),
    metrics: z.array(z.looseObject({ name: z.string(), total: z.number(), target: z.number(), nodes: z.number() })),
  }),
  /** Number of machines in each phase. */
  phases: z.record(z.string(), z.number()),
  machines: z.array(
    z.looseObject({
      machineId: z.string(),
      /** The provider's name; empty while it lists no such machine. */
      instanceId: z.string(),
      zone: z.string(),
      phase: z.string(),
      /** What people on it would notice: participants × 1000 + rooms × 100 + tracks. */
      work: z.number(),
      version: z.string(),
    }),
  ),
  /** In words. */
  warnings: z.array(z.string()),
  /** The newest last. */
  decisions: z.array(z.looseObject({ agoMs: z.number(), what: z.string(), reason: z.string() })),
});

export type ShownCapacity = z.infer<typeof capacityReportSchema>;
