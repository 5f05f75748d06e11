/** Rows of documents that name the test behind them: `“name of the test” in `path/to/file.test.ts``. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './source-files.ts';

export type Proof = { name: string; path: string };

/** The cells of each row of all tables in a part of a document, without head and rule. */
export function tableRows(markdown: string): string[][] {
  const lines = markdown.split('\n').filter((line) => line.startsWith('|'));
  const isRule = (line: string | undefined): boolean => line?.startsWith('|---') ?? false;
  return lines
    .filter((line, index) => !isRule(line) && !isRule(lines[index + 1]))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
}

/** @param heading the whole line, such as `## Features` */
export function section(markdown: string, heading: string): string {
  const level = /^#+/.exec(heading)?.[0].length ?? 1;
  const [, rest] = markdown.split(`\n${heading}\n`);
  if (rest === undefined) {
    throw new Error(`the document has no "${heading}"`);
  }
  return rest.split(new RegExp(`\\n#{1,${level}} `))[0] ?? '';
}

export function proofsIn(text: string): Proof[] {
  return [...text.matchAll(/“([^”]+)” in `([^`]+)`/g)].map(([, name = '', path = '']) => ({ name, path }));
}

/** What is wrong with a proof; undefined when the file has a test, or a named scenario, of that name. */
export function complaintAbout({ name, path }: Proof): string | undefined {
  const file = join(ROOT, path);
  if (!existsSync(file)) {
    return `${path} does not exist`;
  }
  const text = readFileSync(file, 'utf8');
  const quoted = ["'", '`', '"'].map((quote) => `${quote}${name}${quote}`);
  return quoted.some((title) => text.includes(`it(${title}`) || text.includes(`\n  ${title}: async`))
    ? undefined
    : `${path} has no test “${name}”`;
}
