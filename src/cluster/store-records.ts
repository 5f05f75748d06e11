/**
 * Records that nodes of different versions read and rewrite. Each carries the schema version of its writer; objects are
 * loose, so that fields of a newer version survive a rewrite by an older one.
 */
import { decode, encode } from '@msgpack/msgpack';
import { z } from 'zod';
import type { NodeState } from '../placement/node-lifecycle.ts';
import type { NodeId } from '../protocol/ids.ts';
import { badRecord } from './store-errors.ts';

/** Grows when a field changes its meaning; new fields do not need it. */
const schemaVersion = 1;

const nodeStates = [
  'BOOTING',
  'SERVING',
  'CORDONED',
  'DRAINING',
  'DRAINED',
  'DELETING',
  'GONE',
  'FAILED',
  'LOST',
] as const satisfies readonly NodeState[];

const nodeId = z
  .string()
  .min(1)
  .transform((id) => id as NodeId);
const version = z.int().min(1).default(schemaVersion);
/** A state that this version does not know gets no new work, and is nothing to act upon. */
const nodeState = z.enum(nodeStates).catch('CORDONED');

const loadReport = z.looseObject({
  /** Share of all cores in use, 0 to 1. */
  cpu: z.number(),
  cores: z.number(),
  /** Forwarded, in both directions. */
  bitrateBps: z.number(),
  packetsPerSecond: z.number(),
  tracks: z.number(),
  rooms: z.number(),
  participants: z.number(),
  eventLoopLagMs: z.number(),
  workers: z
    .array(z.looseObject({ workerIndex: z.int(), cpu: z.number(), bitrateBps: z.number(), tracks: z.number() }))
    .default([]),
});

const nodeRecordSchema = z.looseObject({
  v: version,
  nodeId,
  /** Several nodes may share a machine; capacity and draining act on machines. */
  machineId: z.string(),
  roles: z.array(z.string()),
  /** Of the program. */
  version: z.string(),
  /** Of the relay between nodes. */
  protocol: z.looseObject({ min: z.int(), max: z.int() }),
  region: z.string(),
  zone: z.string(),
  /** Where other nodes open relay connections to. */
  relay: z.looseObject({ host: z.string(), port: z.int() }),
  /** Where clients reach its media; empty for nodes without. */
  publicAddress: z.string(),
  /** Where masters lead clients of TURN over TLS to; left out by nodes that cannot serve them now. */
  turn: z.exactOptional(z.looseObject({ host: z.string(), port: z.int() })),
  state: nodeState,
  load: loadReport,
  /** Of the process, on the node's own clock. */
  uptimeMs: z.number(),
});

const nodeStateSchema = z.looseObject({
  v: version,
  nodeId,
  /** Grows with each change. */
  epoch: z.int(),
  state: nodeState,
  /** Who made the change: an operator, the capacity controller, the platform. */
  owner: z.string(),
  reason: z.string(),
  /** How work leaves a draining node. */
  policy: z.enum(['wait', 'migrate']).catch('migrate'),
  /** Milliseconds until the deadline, negative once it has passed, null without one. As of the moment of reading. */
  remainingMs: z.number().nullable(),
  deadlineIsHard: z.exactOptional(z.boolean()),
  stateBefore: z.exactOptional(nodeState),
  /** Where the node ran: a process that starts there later is told what was wanted of this one. */
  seat: z.exactOptional(z.string()),
});

/** `v` may be left out. */
export type NodeRecord = z.input<typeof nodeRecordSchema> & { nodeId: NodeId; state: NodeState };
export type NodeStateRecord = z.infer<typeof nodeStateSchema>;
/** What changes; fields that are left out stay (in a new record: owner and reason empty, `migrate`, no deadline). */
export type NodeStateChange = Partial<
  Pick<
    NodeStateRecord,
    'state' | 'owner' | 'reason' | 'policy' | 'remainingMs' | 'deadlineIsHard' | 'stateBefore' | 'seat'
  >
>;

/** A node's record in two pieces: what changes with each beat must not count as a change of the node. */
export type EncodedNode = { stable: Uint8Array; load: Uint8Array };

export function encodeNode(record: NodeRecord): EncodedNode {
  const { load, uptimeMs, ...stable } = record;
  return { stable: encode({ ...stable, v: stable.v ?? schemaVersion }), load: encode({ load, uptimeMs }) };
}

export function decodeNode(encoded: EncodedNode): NodeRecord {
  return read('a node record', () => {
    const pieces = [encoded.stable, encoded.load].map((piece) =>
      z.record(z.string(), z.unknown()).parse(decode(piece)),
    );
    return nodeRecordSchema.parse(Object.assign({}, ...pieces));
  });
}

/** What the store keeps beside a node state's bytes, because it alone counts epochs and time. */
export type NodeStateFacts = { epoch: number; remainingMs: number | null };

/** The record with a change applied, as bytes. `current` is undefined for a new record. */
export function encodeNodeState(current: NodeStateRecord | undefined, id: NodeId, change: NodeStateChange): Uint8Array {
  const blank = { v: schemaVersion, state: 'SERVING', owner: '', reason: '', policy: 'migrate' };
  const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  // The writer's version is the highest that ever wrote it: fields of that version are still in it.
  const v = Math.max(schemaVersion, current?.v ?? schemaVersion);
  return encode({ ...blank, ...current, ...given, v, nodeId: id, epoch: 0, remainingMs: null });
}

export function decodeNodeState(bytes: Uint8Array, { epoch, remainingMs }: NodeStateFacts): NodeStateRecord {
  return read('a node state', () =>
    nodeStateSchema.parse({ ...z.record(z.string(), z.unknown()).parse(decode(bytes)), epoch, remainingMs }),
  );
}

function read<Value>(what: string, parse: () => Value): Value {
  try {
    return parse();
  } catch (error) {
    throw badRecord(what, error);
  }
}
