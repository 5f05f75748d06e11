/** How the commands read their surroundings and write to them. */

export type CliEnv = Readonly<Record<string, string | undefined>>;

export interface CliOutput {
  write(text: string): unknown;
}

/** Control characters and direction overrides: a participant's name must not steer the operator's terminal. */
// oxlint-disable-next-line no-control-regex -- control characters are what it is there to find
const unprintable = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Text from outside, made harmless and shown in one line. */
export function toPrintable(text: string): string {
  return text.replaceAll(unprintable, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Columns padded to their widest cell, two spaces between them; the first row is the header. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const printable = rows.map((row) => row.map(toPrintable));
  const widths: number[] = [];
  for (const row of printable) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  const lines = printable.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

export function formatJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
