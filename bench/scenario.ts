import type { RawConfig } from '../test/kit/node.ts';
import type { Crowd } from './crowd.ts';
import type { Row } from './results.ts';
import type { Target } from './target.ts';
import type { Meter } from './window.ts';

/** A running server with clients and a meter. */
export type Stage = { target: Target; crowd: Crowd; meter: Meter };

export type ServerWish = { config?: RawConfig; mediaNodes?: number };

export type Bench = {
  /** Share of the usual size, for the smoke test. Counts of clients shrink with it, never below 2. */
  size(count: number): number;
  /** Length of a measured window. */
  seconds(usual: number): number;
  /** The server can be started with options of ours. */
  isOwnServer: boolean;
  /** Runs `work` with a server and a crowd, and closes both. Options do not reach a server that somebody else started. */
  onStage<T>(wish: ServerWish, work: (stage: Stage) => Promise<T>): Promise<T>;
  progress(text: string): void;
  note(text: string): void;
};

export type Scenario = {
  name: string;
  title: string;
  /** Part of a run without names. */
  byDefault: boolean;
  run(bench: Bench): Promise<Row[]>;
};

/** A name that no other run has used on the same server. */
export function newRoomName(scenario: string): string {
  return `bench-${scenario}-${Date.now().toString(36)}-${Math.floor(Math.random() * 1e6).toString(36)}`;
}
