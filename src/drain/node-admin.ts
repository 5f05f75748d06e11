/** What operators may see and do about nodes; one implementation for a cluster, one for a node that is alone. */
import type { NodeEntry, NodeRegistry } from '../cluster/store.ts';
import type { NodeRecord, NodeStateRecord } from '../cluster/store-records.ts';
import type { Logger } from '../observe/log.ts';
import type { NodeEvent } from '../placement/node-lifecycle.ts';
import type { NodeId } from '../protocol/ids.ts';
import type { DrainReport, NodeReport } from '../protocol/node-report.ts';
import type { DrainBoard, DrainProgress } from './drain-progress.ts';
import { masterHoldsNoCall, nodeIsEnding, unknownNode } from './errors.ts';
import type { NodeLifecycles } from './node-lifecycles.ts';
import { ownWish } from './own-lifecycle.ts';

export type NodeStep = Extract<NodeEvent, { kind: 'cordon' | 'drain' | 'undrain' }>;

/** Rejects with a PlenumError that says what is wrong. */
export interface NodeAdmin {
  list(): Promise<NodeReport[]>;
  get(nodeId: string): Promise<NodeReport>;
  step(nodeId: string, step: NodeStep): Promise<NodeReport>;
}

export type ClusterNodeAdminOptions = {
  registry: NodeRegistry;
  lifecycles: NodeLifecycles;
  board: DrainBoard;
  log: Logger;
};

type Known = { entry: NodeEntry | undefined; record: NodeStateRecord | undefined };

export class ClusterNodeAdmin implements NodeAdmin {
  readonly #options: ClusterNodeAdminOptions;

  constructor(options: ClusterNodeAdminOptions) {
    this.#options = options;
  }

  /** Nodes that are gone are listed as long as somebody wants something of them. */
  async list(): Promise<NodeReport[]> {
    const known = await this.#known();
    return [...known]
      .filter(([, { entry, record }]) => entry !== undefined || (record !== undefined && isOpenWish(record)))
      .map(([nodeId, node]) => this.#report(nodeId, node))
      .toSorted(
        (left, right) => left.roles.join().localeCompare(right.roles.join()) || left.id.localeCompare(right.id),
      );
  }

  async get(nodeId: string): Promise<NodeReport> {
    const known = (await this.#known()).get(nodeId as NodeId);
    if (known === undefined) {
      throw unknownNode(nodeId);
    }
    return this.#report(nodeId, known);
  }

  async step(nodeId: string, step: NodeStep): Promise<NodeReport> {
    const { lifecycles, log } = this.#options;
    const known = (await this.#known()).get(nodeId as NodeId);
    if (known === undefined) {
      throw unknownNode(nodeId);
    }
    if (known.entry?.record.roles.includes('media') === false) {
      throw masterHoldsNoCall(nodeId);
    }
    if (step.kind === 'undrain' && known.record?.state === 'DRAINING' && known.record.owner === ownWish) {
      throw nodeIsEnding(nodeId);
    }
    const { kind, record } = await lifecycles.apply(nodeId as NodeId, step);
    if (kind === 'changed') {
      const { state, owner, reason } = record;
      log.info({ nodeId, step: step.kind, state, owner, reason }, 'an operator changed the state of a node');
    }
    return this.#report(nodeId, { ...known, record });
  }

  async #known(): Promise<Map<NodeId, Known>> {
    const { registry, lifecycles } = this.#options;
    const [entries, records] = await Promise.all([registry.list(), lifecycles.list()]);
    const known = new Map<NodeId, Known>(entries.map((entry) => [entry.record.nodeId, { entry, record: undefined }]));
    for (const record of records) {
      known.set(record.nodeId, { entry: known.get(record.nodeId)?.entry, record });
    }
    return known;
  }

  #report(nodeId: string, { entry, record }: Known): NodeReport {
    const progress = this.#options.board.of(nodeId as NodeId);
    const state = record?.state ?? entry?.record.state ?? 'GONE';
    return {
      id: nodeId,
      roles: entry?.record.roles ?? ['media'],
      state,
      ...(record?.stateBefore === undefined || (state !== 'LOST' && state !== 'FAILED')
        ? {}
        : { stateBefore: record.stateBefore }),
      owner: record?.owner ?? '',
      reason: record?.reason ?? '',
      live: entry?.isLive ?? false,
      lastSeenSeconds: entry === undefined ? null : Math.round(entry.beatAgeMs) / 1_000,
      ...placeOf(entry?.record),
      drain: record === undefined ? null : drainReport(record, progress),
    };
  }
}

/** Somebody has to do something about a node that is not there. */
function isOpenWish({ state, stateBefore }: NodeStateRecord): boolean {
  const before = state === 'LOST' || state === 'FAILED' ? stateBefore : state;
  return before === 'CORDONED' || before === 'DRAINING' || state === 'DELETING';
}

function drainReport(record: NodeStateRecord, progress: DrainProgress | undefined): DrainReport | null {
  const { state, stateBefore, policy, remainingMs, deadlineIsHard = false } = record;
  if (state !== 'DRAINING' && stateBefore !== 'DRAINING') {
    return null;
  }
  const current = progress?.epoch === record.epoch ? progress : undefined;
  return {
    policy,
    secondsLeft: remainingMs === null ? null : Math.round(remainingMs / 1_000),
    deadlineIsHard,
    rooms: current?.rooms ?? null,
    participants: current?.participants ?? null,
    jobs: current?.jobs ?? null,
    waitingFor: current?.waitingFor ?? [],
    furtherWaits: current?.furtherWaits ?? 0,
    leader: current?.leader ?? '',
  };
}

type Place = Pick<NodeReport, 'machine' | 'address' | 'region' | 'zone' | 'version' | 'load'>;

function placeOf(record: NodeRecord | undefined): Place {
  if (record === undefined) {
    return { machine: '', address: '', region: '', zone: '', version: '', load: null };
  }
  const { machineId: machine, relay, region, zone, version } = record;
  const { cpu, bitrateBps, tracks, rooms, participants } = record.load;
  const load = { cpu: Math.round(cpu * 1_000) / 1_000, bitrateBps, tracks, rooms, participants };
  return { machine, address: relay.host, region, zone, version, load };
}
