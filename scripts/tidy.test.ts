/** House rules that lint cannot express. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, it } from 'node:test';
import { ROOT, sourceFiles } from './source-files.ts';

const FILE_LINES = 600;
/** src/lib may wait and have timers; nothing else of the pure folders. */
const PURE = ['protocol', 'sdp', 'room', 'subscription', 'quality', 'placement', 'capacity'];
const OVERLAP = '\0';

const files = sourceFiles();
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const isTest = (path: string): boolean => /\.test\.tsx?$|-(test-kit|test-server|fixtures)\.ts$|^test\//.test(path);
const code = files.filter((path) => /\.tsx?$/.test(path));

/** Blanks comments and the text of strings, so that a rule does not find words in prose. Line numbers stay. */
function withoutProse(source: string): string {
  const token = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;
  return source.replaceAll(token, (text) => OVERLAP + text.replaceAll(/[^\n]/g, ''));
}

/** Lines of files that match a pattern, as `path:line: text`. */
function findings(paths: string[], pattern: RegExp): string[] {
  return paths.flatMap((path) => {
    const source = read(path).split('\n');
    return withoutProse(source.join('\n'))
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${source[index]?.trim()}`] : []));
  });
}

/** What a Markdown file links to inside the project: `[text](target)`, images included. */
function localLinks(markdown: string): string[] {
  const prose = markdown.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !/^[a-z]+:/i.test(target));
}

/** The anchor that GitHub gives a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-');
}

function brokenLink(path: string, target: string): string | undefined {
  const [file = '', anchor] = target.split('#');
  const linked = file === '' ? path : normalize(join(dirname(path), decodeURIComponent(file)));
  if (!existsSync(join(ROOT, linked))) {
    return `${path}: ${target} does not exist`;
  }
  if (anchor === undefined || !linked.endsWith('.md')) {
    return undefined;
  }
  const headings = [...read(linked).matchAll(/^#+ +(.+)$/gm)].map((match) => anchorOf(match[1] ?? ''));
  return headings.includes(anchor) ? undefined : `${path}: ${target} names no heading of ${linked}`;
}

describe('the house', () => {
  const pure = code.filter((path) => PURE.includes(/^src\/([^/]+)\//.exec(path)?.[1] ?? '') && !isTest(path));

  it('keeps waiting out of the pure folders', () => {
    assert.deepEqual(findings(pure, /\basync\b|\bawait\b|\bPromise\b/), []);
  });

  it('keeps the clock out of the pure folders', () => {
    assert.deepEqual(findings(pure, /\bnew Date\(\s*\)|\bDate\(\)|\bnode:timers\b/), []);
  });

  it(`keeps files under ${FILE_LINES} lines`, () => {
    const paths = files.filter((path) => /\.(tsx?|sh|h|c|css)$/.test(path) && !isTest(path));
    assert.deepEqual(
      paths
        .map((path) => ({ path, lines: read(path).split('\n').length - 1 }))
        .filter(({ lines }) => lines > FILE_LINES),
      [],
    );
  });

  it('has no barrels and nothing named after no thing', () => {
    const names = /(^|\/)(index|utils?|helpers?|common|misc)(\.[a-z]+)*\.tsx?$|\/(utils?|helpers?|common|misc)\//;
    assert.deepEqual(
      code.filter((path) => names.test(path)),
      [],
    );
  });

  it('imports no test from anywhere', () => {
    const importers = code.filter((path) => /from '[^']*\.test\.ts'/.test(read(path)));
    assert.deepEqual(importers, []);
  });

  it('has no state at module level', () => {
    assert.deepEqual(
      findings(
        code.filter((path) => path.startsWith('src/') && !isTest(path)),
        /^(export )?let\b/,
      ),
      [],
    );
  });

  it('gives a reason with each lint rule that is switched off', () => {
    const silenced = /oxlint-disable(?!.* -- \S)|eslint-disable|@ts-(ignore|nocheck|expect-error\s*$)/;
    const silent = code
      .filter((path) => path !== 'scripts/tidy.test.ts')
      .flatMap((path) =>
        read(path)
          .split('\n')
          .flatMap((line, index) => (silenced.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
      );
    assert.deepEqual(silent, []);
  });

  it('has no dead links in its documents', () => {
    const documents = files.filter((path) => path.endsWith('.md'));
    const broken = documents.flatMap((path) => localLinks(read(path)).map((target) => brokenLink(path, target)));
    assert.deepEqual(
      broken.filter((complaint) => complaint !== undefined),
      [],
    );
  });

  it('numbers its decision records without gaps or doubles', () => {
    const numbers = files.flatMap((path) => /^docs\/adr\/(\d{4})-[a-z0-9-]+\.md$/.exec(path)?.[1] ?? []).map(Number);
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => index + 1),
    );
  });

  it('says in the changelog what is unreleased', () => {
    assert.match(read('CHANGELOG.md'), /^## (\[)?Unreleased/im);
  });
});
