import { readFileSync } from 'node:fs';

/** Of this program; a release adds what it was made from. */
export function programVersion(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}
