import { Crowd } from './crowd.ts';
import { pin } from './process-tree.ts';
import type { Row, ScenarioResult } from './results.ts';
import type { Bench, Scenario, ServerWish, Stage } from './scenario.ts';
import {
  externalTarget,
  serverCore,
  startClusterTarget,
  startTarget,
  type ExternalServer,
  type OwnServer,
  type Target,
} from './target.ts';
import { mergeConfig, type RawConfig } from '../test/kit/node.ts';
import { Meter } from './window.ts';

export type RunOptions = {
  external?: ExternalServer | undefined;
  /** Merged over what a scenario asks for. */
  config?: RawConfig;
  worker?: string | undefined;
  nodeOptions?: string | undefined;
  profileFolder?: string | undefined;
  /** OpenSSL names, best first, that clients offer for SRTP. */
  srtpProfiles?: string[] | undefined;
  /** Server on one core, load on another. */
  pinned: boolean;
  /** 1 = as the scenarios are defined. */
  scale: number;
  /** Share of the usual measuring times; default: `scale`, but never more than 1. */
  windows?: number;
  progress: (text: string) => void;
};

const shortestWindow = 0.1;

export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioResult> {
  const notes: string[] = [];
  const startedMs = performance.now();
  const bench: Bench = {
    size: (count) => Math.max(2, Math.round(count * options.scale)),
    seconds: (usual) => usual * Math.max(shortestWindow, Math.min(1, options.windows ?? options.scale)),
    isOwnServer: options.external === undefined,
    onStage: async (wish, work) => onStage(options, wish, { work, note: (text) => notes.push(text) }),
    progress: options.progress,
    note: (text) => notes.push(text),
  };
  if (options.scale !== 1) {
    notes.push(`Sizes were × ${options.scale} of those in the title.`);
  }
  const rows: Row[] = await scenario.run(bench);
  const { name, title } = scenario;
  return { scenario: name, title, rows, notes, tookS: (performance.now() - startedMs) / 1000 };
}

type StageWork<T> = { work: (stage: Stage) => Promise<T>; note: (text: string) => void };

async function onStage<T>(options: RunOptions, wish: ServerWish, { work, note }: StageWork<T>): Promise<T> {
  const target = await open(options, wish);
  try {
    const crowd = await Crowd.start(target, options.srtpProfiles);
    try {
      if (options.pinned) {
        pin([process.pid, crowd.endpoint.pid], serverCore + 1);
      }
      return await work({ target, crowd, meter: new Meter(target, crowd) });
    } finally {
      await crowd.close();
    }
  } finally {
    // What it logged does not make its figures wrong, but has to be known with them.
    await target.close().catch((error: unknown) => note(error instanceof Error ? error.message : String(error)));
  }
}

async function open(options: RunOptions, wish: ServerWish): Promise<Target> {
  if (options.external !== undefined) {
    return externalTarget(options.external);
  }
  const { worker, nodeOptions, profileFolder, pinned } = options;
  const own: OwnServer = {
    config: mergeConfig(wish.config ?? {}, options.config ?? {}),
    worker,
    nodeOptions,
    profileFolder,
    pinned,
  };
  return wish.mediaNodes === undefined ? startTarget(own) : startClusterTarget({ ...own, mediaNodes: wish.mediaNodes });
}
