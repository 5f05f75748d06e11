/** Writes the committed expansions again. Read the difference: it is what a change of the template means for Azure. */
import { writeFileSync } from 'node:fs';
import { goldenScenarios, goldenText } from './scenarios.ts';

for (const [name, scenario] of Object.entries(goldenScenarios)) {
  writeFileSync(new URL(`golden/${name}.json`, import.meta.url), goldenText(scenario));
}
