import type { Row, ScenarioResult } from './results.ts';

/** One table per scenario: series downwards, figures across. */
export function formatResult(result: ScenarioResult): string {
  const lines = [`${result.scenario}: ${result.title} (${result.tookS.toFixed(0)} s)`, ...formatRows(result.rows)];
  return [...lines, ...result.notes.map((note) => `  ${note}`)].join('\n');
}

/** Columns are right-aligned; a figure that a series does not have stays empty. Rows without a common figure get a table of their own. */
export function formatRows(rows: readonly Row[]): string[] {
  const groups: { columns: string[]; rows: Row[] }[] = [];
  for (const row of rows) {
    const columns = Object.keys(row.figures);
    const known = groups.find((group) => columns.some((column) => group.columns.includes(column)));
    if (known === undefined) {
      groups.push({ columns, rows: [row] });
    } else {
      known.rows.push(row);
      known.columns.push(...columns.filter((column) => !known.columns.includes(column)));
    }
  }
  return groups.flatMap((group) => formatGroup(group.columns, group.rows));
}

function formatGroup(columns: readonly string[], rows: readonly Row[]): string[] {
  const head = ['', ...columns];
  const body = rows.map((row) => [row.series, ...columns.map((column) => formatFigure(row.figures[column]))]);
  const widths = head.map((text, index) => Math.max(text.length, ...body.map((cells) => cells[index]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0))).join('  ')}`;
  return [head, ...body].map((cells) => line(cells).trimEnd());
}

/** Three significant digits, whole numbers from 100 on. */
export function formatFigure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) {
    return '-';
  }
  const size = Math.abs(value);
  if (size >= 100 || value === 0) {
    return Math.round(value).toString();
  }
  return size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
}
