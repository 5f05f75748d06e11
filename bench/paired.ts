/** Two variants of our server, run in turns (A B B A …) within one session, so that the machine's moods meet both alike. */
import type { RawConfig } from '../test/kit/node.ts';
import type { Row, ScenarioResult } from './results.ts';
import { median } from './statistics.ts';

export type Variant = {
  config: RawConfig;
  worker: string | undefined;
  srtpProfiles: string[] | undefined;
  nodeOptions: string | undefined;
};

export type PairedFigure = {
  series: string;
  figure: string;
  a: number;
  b: number;
  ratio: number;
  lowest: number;
  highest: number;
};

/**
 * @param text `key=value` pairs, separated by commas: dotted names of options with JSON or plain values, `worker=path`,
 *   `node=options` of the server's Node, or `srtp=` with OpenSSL's names of what clients offer, separated by colons.
 * @throws Error on anything else
 */
export function parseVariant(text: string): Variant {
  const variant: Variant = { config: {}, worker: undefined, srtpProfiles: undefined, nodeOptions: undefined };
  for (const pair of text.split(',').filter((part) => part !== '')) {
    const equals = pair.indexOf('=');
    if (equals < 1) {
      throw new Error(`"${pair}" is not key=value`);
    }
    const key = pair.slice(0, equals);
    const value = pair.slice(equals + 1);
    if (key === 'worker') {
      variant.worker = value;
    } else if (key === 'node') {
      variant.nodeOptions = value;
    } else if (key === 'srtp') {
      variant.srtpProfiles = value.split(':');
    } else {
      setOption(variant.config, key.split('.'), parseValue(value));
    }
  }
  return variant;
}

function setOption(config: RawConfig, names: string[], value: unknown): void {
  const [name = '', ...rest] = names;
  if (rest.length === 0) {
    config[name] = value;
    return;
  }
  const inner = (config[name] ??= {});
  setOption(inner as RawConfig, rest, value);
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Runs `pairs` times each, in the order A B, B A, A B, … */
export async function runPaired(
  pairs: number,
  run: (variant: 'a' | 'b') => Promise<ScenarioResult>,
): Promise<PairedFigure[]> {
  const found: { a: ScenarioResult; b: ScenarioResult }[] = [];
  for (let index = 0; index < pairs; index += 1) {
    const first = index % 2 === 0 ? 'a' : 'b';
    const one = await run(first);
    const other = await run(first === 'a' ? 'b' : 'a');
    found.push(first === 'a' ? { a: one, b: other } : { a: other, b: one });
  }
  return pairedFigures(found);
}

/** Medians, and the range of the ratios of the pairs. */
export function pairedFigures(pairs: readonly { a: ScenarioResult; b: ScenarioResult }[]): PairedFigure[] {
  return (pairs[0]?.a.rows ?? []).flatMap((row) =>
    Object.keys(row.figures).map((figure) => {
      const values = (side: 'a' | 'b'): number[] => pairs.map((pair) => figureOf(pair[side].rows, row.series, figure));
      const a = values('a');
      const b = values('b');
      const ratios = a.map((value, index) => (b[index] ?? Number.NaN) / value);
      return {
        series: row.series,
        figure,
        a: median(a),
        b: median(b),
        ratio: median(ratios),
        lowest: Math.min(...ratios),
        highest: Math.max(...ratios),
      };
    }),
  );
}

function figureOf(rows: readonly Row[], series: string, figure: string): number {
  return rows.find((row) => row.series === series)?.figures[figure] ?? Number.NaN;
}
