import { PlenumError } from '../lib/errors.ts';

export function badConfig(problems: string[]): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'bad-config',
    message: `The configuration cannot be used:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
  });
}
