/** Writes the generated files of this folder; a test compares them with what is committed. */
import { writeFileSync } from 'node:fs';
import { generatedFiles } from './generated-files.ts';

for (const [name, content] of Object.entries(generatedFiles())) {
  writeFileSync(new URL(name, import.meta.url), content);
}
