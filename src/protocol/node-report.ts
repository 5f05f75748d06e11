/** The admin API for nodes: what it takes and answers as JSON. Command line and server share it. */
import { z } from 'zod';

/** Path of the list; a node is at `…/ID`, its steps at `…/ID/cordon`, `…/ID/drain` and `…/ID/undrain`. */
export const adminNodesPath = '/admin/v1/nodes';

const load = z.looseObject({
  /** Share of all cores, 0 to 1. */
  cpu: z.number(),
  bitrateBps: z.number(),
  tracks: z.number(),
  rooms: z.number(),
  participants: z.number(),
});

const drain = z.looseObject({
  policy: z.string(),
  /** Until the deadline; negative after it, null without one. */
  secondsLeft: z.number().nullable(),
  /** The machine goes then, whatever still runs. */
  deadlineIsHard: z.boolean(),
  /** What is still on the node; null while nobody has looked yet. */
  rooms: z.number().nullable(),
  participants: z.number().nullable(),
  jobs: z.number().nullable(),
  /** In words. */
  waitingFor: z.array(z.string()),
  /** Beyond those in `waitingFor`. */
  furtherWaits: z.number(),
  /** The master that carries it out; empty while nobody does. */
  leader: z.string(),
});

export const nodeReportSchema = z.looseObject({
  id: z.string(),
  roles: z.array(z.string()),
  state: z.string(),
  /** Where a LOST or FAILED node was before. */
  stateBefore: z.string().optional(),
  /** Who brought it into this state, and why; empty when nobody did. */
  owner: z.string(),
  reason: z.string(),
  /** It states itself. */
  live: z.boolean(),
  /** Since it did so last; null when it is not on the list any more. */
  lastSeenSeconds: z.number().nullable(),
  machine: z.string(),
  address: z.string(),
  region: z.string(),
  zone: z.string(),
  version: z.string(),
  load: load.nullable(),
  /** Of a node that is to become empty. */
  drain: drain.nullable(),
});

export const nodeListSchema = z.looseObject({ nodes: z.array(nodeReportSchema) });

/** Every refusal. `reason` is stable, `message` is for people. */
export const adminErrorSchema = z.looseObject({
  error: z.looseObject({
    reason: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.string()).optional(),
  }),
});

export type NodeReport = z.infer<typeof nodeReportSchema>;
export type DrainReport = z.infer<typeof drain>;
export type AdminError = z.infer<typeof adminErrorSchema>;

const reason = z.string().max(256).default('');
const maxDeadlineS = 7 * 24 * 3_600;

export const stepRequestSchema = z.strictObject({ reason });

export const drainRequestSchema = z
  .strictObject({
    reason,
    /** Else what `drain.policy` says. */
    policy: z.enum(['migrate', 'wait']).optional(),
    deadlineSeconds: z.number().min(0).max(maxDeadlineS).optional(),
    deadlineIsHard: z.boolean().default(false),
  })
  .refine(({ deadlineIsHard, deadlineSeconds }) => !deadlineIsHard || deadlineSeconds !== undefined, {
    path: ['deadlineIsHard'],
    message: 'needs deadlineSeconds',
  })
  .refine(
    ({ policy, deadlineSeconds, deadlineIsHard }) =>
      policy !== 'wait' || deadlineSeconds === undefined || deadlineIsHard,
    { path: ['deadlineSeconds'], message: 'a drain that waits has no deadline, unless deadlineIsHard' },
  );

export type DrainRequestBody = z.input<typeof drainRequestSchema>;
