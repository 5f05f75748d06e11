/** What a run of the benchmark has found, as it stands in the JSON file. */

/** Named figures of one series; the unit is part of the name, as in `CPU µs/packet`. */
export type Row = { series: string; figures: Record<string, number> };

export type ScenarioResult = {
  scenario: string;
  title: string;
  rows: Row[];
  /** What is not to be read into the figures, or why a series is missing. */
  notes: string[];
  tookS: number;
};

export type Machine = {
  cpu: string;
  cores: number;
  memoryMb: number;
  kernel: string;
  node: string;
  worker: string;
  /** Of the checkout that drives the benchmark. */
  commit: string;
};

export type BenchReport = {
  format: 1;
  startedAt: string;
  /** What was measured: a URL, or how the server was started. */
  server: string;
  machine: Machine;
  results: ScenarioResult[];
};
