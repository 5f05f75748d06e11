/** Values of options that need more than their text. Each throws commander's error for wrong use. */
import { InvalidArgumentError } from 'commander';

const secondsPerUnit: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** `90s`, `30m`, `6h`, `10d` or plain seconds. */
export function parseDurationS(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? [];
  const seconds = Number(digits) * (secondsPerUnit[unit || 's'] ?? 0);
  if (digits === '' || seconds === 0) {
    throw new InvalidArgumentError('Give a duration such as 90s, 30m, 6h or 10d.');
  }
  return seconds;
}

export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count > 4_294_967_295) {
    throw new InvalidArgumentError('Give a whole number, 0 or more.');
  }
  return count;
}

/** Collects `key=value` over repeated options. */
export function parseAttribute(text: string, previous: Record<string, string> | undefined): Record<string, string> {
  const split = text.indexOf('=');
  if (split < 1) {
    throw new InvalidArgumentError('Give an attribute as key=value.');
  }
  return { ...previous, [text.slice(0, split)]: text.slice(split + 1) };
}
