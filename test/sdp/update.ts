/** Renews the expected plans and answers beside the recordings: `node test/sdp/update.ts`. Read the diff before keeping it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { answerGolden, formatPublications } from './expected.ts';
import { goldenDirectory, goldenOffers } from './golden.ts';

for (const golden of goldenOffers()) {
  const { publications, answer } = answerGolden(golden);
  writeFileSync(join(goldenDirectory, `${golden.name}.plan.json`), formatPublications(publications));
  writeFileSync(join(goldenDirectory, `${golden.name}.answer.sdp`), answer);
}
