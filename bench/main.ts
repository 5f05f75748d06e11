/** `./plenum bench`: measures a server by clients that speak LiveKit's protocol. See docs/performance.md. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { outliveReader } from '../src/cli/closed-pipe.ts';
import { compareReports, formatComparison } from './compare.ts';
import { describeMachine } from './machine.ts';
import { parseVariant, runPaired, type Variant } from './paired.ts';
import type { BenchReport, ScenarioResult } from './results.ts';
import { runScenario, type RunOptions } from './run-scenario.ts';
import type { Scenario } from './scenario.ts';
import { allScenarios } from './scenarios/all-scenarios.ts';
import { formatFigure, formatResult } from './table.ts';

type Flags = {
  url?: string;
  apiKey?: string;
  apiSecret?: string;
  serverPid?: number[];
  compare?: boolean;
  json?: string;
  scale: number;
  pin: boolean;
  set?: string;
  cpuProf?: string;
  a?: string;
  b?: string;
  pairs: number;
};

class Progress {
  readonly #startedMs = performance.now();

  tell(text: string): void {
    const seconds = Math.round((performance.now() - this.#startedMs) / 1000);
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    process.stderr.write(`${clock.padStart(5)}  ${text}\n`);
  }
}

function createCommand(): Command {
  const names = allScenarios.map(
    ({ name, title, byDefault }) => `  ${name.padEnd(12)} ${title}${byDefault ? '' : ' (only by name)'}`,
  );
  return new Command('plenum bench')
    .description('Measure the cost and the delays of a server. Without names: everything, in less than 10 minutes.')
    .argument('[scenario...]', 'names of scenarios, or two JSON files with --compare')
    .option('--url <url>', 'a LiveKit-compatible server that runs already; else one is started for each series')
    .option('--api-key <key>', 'its API key')
    .option('--api-secret <secret>', 'its API secret')
    .option('--server-pid <pid...>', 'its processes, with all that they started, for CPU and memory', parsePids)
    .option('--compare', 'print ratios of two JSON files instead of measuring')
    .option('--json <file>', 'where the figures go (default: tmp/bench-<time>.json)')
    .option('--set <options>', 'options for the server, such as audio.loudest_forwarded=3,rtc.workers=2; see --a')
    .option('--no-pin', 'do not keep server and load on a core of their own each')
    .option('--cpu-prof <folder>', 'CPU profiles of the server’s Node processes')
    .addOption(new Option('--scale <share>', 'size of everything, 1 = as defined').argParser(parseScale).default(1))
    .option(
      '--a <variant>',
      'with --b: run both in turns and print ratios; options of the server, worker=<binary>, node=<options>, srtp=<what clients offer>',
    )
    .option('--b <variant>', 'see --a')
    .addOption(new Option('--pairs <count>', 'with --a and --b').argParser(Number).default(3))
    .addHelpText('after', `\nScenarios:\n${names.join('\n')}\n${examples}`);
}

const examples = `
Examples:
  ./plenum bench                                   everything that ends in 10 minutes
  ./plenum bench webinar meeting
  ./plenum bench webinar --url ws://127.0.0.1:7880 --api-key devkey --api-secret secret --server-pid 4711
  ./plenum bench --compare before.json after.json
  ./plenum bench webinar --a '' --b rtc.bandwidth_estimation=always --pairs 5
`;

function parsePids(text: string, before: number[] = []): number[] {
  const pid = Number(text);
  if (!Number.isInteger(pid) || pid < 1) {
    throw new InvalidArgumentError('It must be a process id.');
  }
  return [...before, pid];
}

function parseScale(text: string): number {
  const scale = Number(text);
  if (!(scale > 0 && scale <= 10)) {
    throw new InvalidArgumentError('It must be a number above 0, up to 10.');
  }
  return scale;
}

function chosen(names: readonly string[]): Scenario[] {
  if (names.length === 0) {
    return allScenarios.filter(({ byDefault }) => byDefault);
  }
  return names.map((name) => {
    const found = allScenarios.find((scenario) => scenario.name === name);
    if (found === undefined) {
      throw new InvalidArgumentError(`There is no scenario "${name}".`);
    }
    return found;
  });
}

function toRunOptions(flags: Flags, progress: Progress): RunOptions {
  const { url, apiKey = '', apiSecret = '', serverPid = [] } = flags;
  const { config, worker, srtpProfiles, nodeOptions } = parseVariant(flags.set ?? '');
  return {
    external:
      url === undefined ? undefined : { url: url.replace(/^ws/, 'http'), key: { apiKey, apiSecret }, pids: serverPid },
    config,
    worker,
    profileFolder: flags.cpuProf === undefined ? undefined : path.resolve(flags.cpuProf),
    srtpProfiles,
    nodeOptions,
    pinned: flags.pin && url === undefined,
    scale: flags.scale,
    progress: (text) => progress.tell(text),
  };
}

async function measure(scenarios: readonly Scenario[], flags: Flags): Promise<void> {
  const progress = new Progress();
  const options = toRunOptions(flags, progress);
  const report: BenchReport = {
    format: 1,
    startedAt: new Date().toISOString(),
    server: flags.url ?? `started for each series${flags.set === undefined ? '' : ` with ${flags.set}`}`,
    machine: await describeMachine(),
    results: [],
  };
  const file = flags.json ?? path.join('tmp', `bench-${report.startedAt.replaceAll(/[:.]/g, '-')}.json`);
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  for (const [index, scenario] of scenarios.entries()) {
    progress.tell(`[${index + 1}/${scenarios.length}] ${scenario.name}`);
    report.results.push(await runOrExplain(scenario, options));
    // After each, so that what was measured is not lost when a later one fails.
    writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`);
  }
  const { cpu, cores, kernel, node, worker, commit } = report.machine;
  console.log(`\n${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, worker ${worker}, commit ${commit}`);
  console.log(`\n${report.results.map(formatResult).join('\n\n')}`);
  console.log(`\nFigures are in ${file}`);
}

/** A scenario that fails must not take the figures of the others with it. */
async function runOrExplain(scenario: Scenario, options: RunOptions): Promise<ScenarioResult> {
  try {
    return await runScenario(scenario, options);
  } catch (error) {
    process.exitCode = 1;
    const notes = [`FAILED: ${error instanceof Error ? error.message : String(error)}`];
    return { scenario: scenario.name, title: scenario.title, rows: [], notes, tookS: 0 };
  }
}

async function measurePaired(
  scenarios: readonly Scenario[],
  flags: Flags,
  variants: { a: Variant; b: Variant },
): Promise<void> {
  const progress = new Progress();
  const options = toRunOptions(flags, progress);
  for (const scenario of scenarios) {
    const figures = await runPaired(flags.pairs, async (side): Promise<ScenarioResult> => {
      progress.tell(`${scenario.name}, variant ${side}`);
      return runScenario(scenario, { ...options, ...variants[side] });
    });
    console.log(`\n${scenario.name}, ${flags.pairs} pairs; b/a with the range of the pairs`);
    let heading = '';
    for (const { series, figure, a, b, ratio, lowest, highest } of figures) {
      if (series !== heading) {
        console.log(`  ${series}`);
        heading = series;
      }
      const range = `× ${ratio.toFixed(3)} (${lowest.toFixed(3)} to ${highest.toFixed(3)})`;
      console.log(`    ${figure.padEnd(24)} ${formatFigure(a).padStart(9)} ${formatFigure(b).padStart(9)}  ${range}`);
    }
  }
}

function compareFiles(files: readonly string[]): void {
  const [a, b] = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as BenchReport);
  if (a === undefined || b === undefined || files.length !== 2) {
    throw new InvalidArgumentError('--compare takes two JSON files.');
  }
  console.log(formatComparison(compareReports(a, b)));
}

async function main(): Promise<void> {
  const command = createCommand().exitOverride().showHelpAfterError('(./plenum bench --help shows what there is)');
  command.action(async (names: string[], flags: Flags) => {
    if (flags.compare === true) {
      compareFiles(names);
    } else if (flags.a !== undefined || flags.b !== undefined) {
      await measurePaired(chosen(names), flags, { a: parseVariant(flags.a ?? ''), b: parseVariant(flags.b ?? '') });
    } else {
      await measure(chosen(names), flags);
    }
  });
  await command.parseAsync();
}

outliveReader(process.stdout);
try {
  await main();
} catch (error) {
  if (!(error instanceof CommanderError)) {
    throw error;
  }
  if (error instanceof InvalidArgumentError) {
    process.stderr.write(`plenum bench: ${error.message}\n`);
  }
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
