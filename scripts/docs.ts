/** Writes the generated reference documents: `node scripts/docs.ts`. */
import { writeFileSync } from 'node:fs';
import { configReference } from '../src/config/reference.ts';

writeFileSync(new URL('../docs/reference/config.md', import.meta.url), configReference());
