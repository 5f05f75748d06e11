import type { BenchReport, Row } from './results.ts';
import { formatFigure } from './table.ts';

export type Comparison = { scenario: string; series: string; figure: string; a: number; b: number; ratio: number };

/** Every figure that both reports have, with b/a. */
export function compareReports(a: BenchReport, b: BenchReport): Comparison[] {
  const found: Comparison[] = [];
  for (const result of a.results) {
    const other = b.results.find(({ scenario }) => scenario === result.scenario);
    for (const row of result.rows) {
      found.push(
        ...compareRows(
          result.scenario,
          row,
          other?.rows.find(({ series }) => series === row.series),
        ),
      );
    }
  }
  return found;
}

function compareRows(scenario: string, a: Row, b: Row | undefined): Comparison[] {
  return Object.entries(a.figures).flatMap(([figure, value]) => {
    const other = b?.figures[figure];
    return other === undefined
      ? []
      : [{ scenario, series: a.series, figure, a: value, b: other, ratio: value === 0 ? Number.NaN : other / value }];
  });
}

export function formatComparison(comparisons: readonly Comparison[]): string {
  const lines: string[] = [];
  let heading = '';
  for (const { scenario, series, figure, a, b, ratio } of comparisons) {
    const group = `${scenario}, ${series}`;
    if (group !== heading) {
      lines.push(group);
      heading = group;
    }
    const text = Number.isFinite(ratio) ? `× ${ratio.toFixed(2)}` : '';
    lines.push(
      `  ${figure.padEnd(30)} ${formatFigure(a).padStart(10)} → ${formatFigure(b).padStart(10)}  ${text}`.trimEnd(),
    );
  }
  return lines.join('\n');
}
