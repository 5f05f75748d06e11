import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareReports, formatComparison } from './compare.ts';
import { pairedFigures, parseVariant } from './paired.ts';
import type { BenchReport, Row, ScenarioResult } from './results.ts';
import { formatFigure, formatRows } from './table.ts';

function result(rows: Row[]): ScenarioResult {
  return { scenario: 'webinar', title: '', rows, notes: [], tookS: 1 };
}

function report(rows: Row[]): BenchReport {
  const machine = { cpu: '', cores: 2, memoryMb: 1, kernel: '', node: '', worker: '', commit: '' };
  return { format: 1, startedAt: '', server: '', machine, results: [result(rows)] };
}

describe('comparing reports', () => {
  it('sets figures of the same name side by side and leaves out what one report lacks', () => {
    const a = report([{ series: 'one layer', figures: { cost: 10, loss: 0, old: 1 } }]);
    const b = report([
      { series: 'one layer', figures: { cost: 8, loss: 0 } },
      { series: 'three layers', figures: { cost: 9 } },
    ]);
    const compared = compareReports(a, b);
    assert.deepEqual(
      compared.map(({ figure, ratio }) => [figure, ratio]),
      [
        ['cost', 0.8],
        ['loss', Number.NaN],
      ],
    );
    assert.match(
      formatComparison(compared),
      /webinar, one layer\n {2}cost +10\.0 → +8\.00 {2}× 0\.80\n {2}loss +0 → +0$/,
    );
  });

  it('takes medians of pairs, and the range of their ratios', () => {
    const pair = (a: number, b: number): { a: ScenarioResult; b: ScenarioResult } => ({
      a: result([{ series: 's', figures: { cost: a } }]),
      b: result([{ series: 's', figures: { cost: b } }]),
    });
    const [figure] = pairedFigures([pair(10, 8), pair(20, 22), pair(10, 9)]);
    assert.deepEqual(figure, { series: 's', figure: 'cost', a: 10, b: 9, ratio: 0.9, lowest: 0.8, highest: 1.1 });
  });
});

describe('variants', () => {
  it('set nested options and the worker', () => {
    assert.deepEqual(parseVariant('rtc.workers=2,rtc.bandwidth_estimation=always,worker=/x/y,srtp=A:B,node=--x=1'), {
      config: { rtc: { workers: 2, bandwidth_estimation: 'always' } },
      worker: '/x/y',
      srtpProfiles: ['A', 'B'],
      nodeOptions: '--x=1',
    });
    assert.deepEqual(parseVariant(''), {
      config: {},
      worker: undefined,
      srtpProfiles: undefined,
      nodeOptions: undefined,
    });
    assert.throws(() => parseVariant('nothing'), /not key=value/);
  });
});

describe('tables', () => {
  it('give rows without a common figure a table of their own', () => {
    const lines = formatRows([
      { series: 'storm', figures: { 'joins/s': 51.23 } },
      { series: 'step', figures: { ms: 0.1234 } },
      { series: 'calm', figures: { 'joins/s': 25, 'p95 ms': 1234.5 } },
    ]);
    assert.deepEqual(lines, [
      '         joins/s  p95 ms',
      '  storm     51.2       -',
      '  calm      25.0    1235',
      '           ms',
      '  step  0.123',
    ]);
  });

  it('show three digits, and nothing for what is no number', () => {
    assert.deepEqual([1234.5, 0, 99.94, 1.234, 0.01234, Number.NaN].map(formatFigure), [
      '1235',
      '0',
      '99.9',
      '1.23',
      '0.012',
      '-',
    ]);
  });
});
