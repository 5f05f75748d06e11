/** The ARM functions that the template and the form use, computed as Azure computes them. Others fail loudly. */
import { createHash } from 'node:crypto';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** A failure that the template asked for. */
export class TemplateFailure extends Error {}

type Pure = (...args: Json[]) => Json;

export const pureFunctions: Readonly<Record<string, Pure>> = {
  true: () => true,
  false: () => false,
  null: () => null,
  json: (text) => JSON.parse(asText(text)) as Json,
  string: (value) => (typeof value === 'string' ? value : JSON.stringify(value)),
  int: (value) => Number(value),
  bool: (value) => value === true || textOf(value).toLowerCase() === 'true',
  concat: (...parts) =>
    Array.isArray(parts[0]) ? parts.flatMap((part) => asList(part)) : parts.map(formatted).join(''),
  format: (pattern, ...args) =>
    asText(pattern).replaceAll(/\{(\d+)(?::[^}]*)?\}/g, (_, index: string) => formatted(args[Number(index)] ?? '')),
  equals: (left, right) => JSON.stringify(left) === JSON.stringify(right),
  not: (value) => value !== true,
  and: (...values) => values.every((value) => value === true),
  or: (...values) => values.some((value) => value === true),
  empty: (value) =>
    value === null ||
    value === '' ||
    (Array.isArray(value) && value.length === 0) ||
    (isObject(value) && Object.keys(value).length === 0),
  length: (value) =>
    typeof value === 'string' ? value.length : isObject(value) ? Object.keys(value).length : asList(value).length,
  contains: (within, sought) => {
    if (typeof within === 'string') return within.includes(asText(sought));
    return Array.isArray(within)
      ? within.includes(sought)
      : isObject(within) && findKey(within, asText(sought)) !== undefined;
  },
  startsWith: (text, start) => asText(text).toLowerCase().startsWith(asText(start).toLowerCase()),
  endsWith: (text, end) => asText(text).toLowerCase().endsWith(asText(end).toLowerCase()),
  indexOf: (text, sought) => asText(text).toLowerCase().indexOf(asText(sought).toLowerCase()),
  toLower: (text) => asText(text).toLowerCase(),
  toUpper: (text) => asText(text).toUpperCase(),
  replace: (text, from, to) => asText(text).replaceAll(asText(from), asText(to)),
  take: (from, count) =>
    typeof from === 'string' ? from.slice(0, Number(count)) : asList(from).slice(0, Number(count)),
  join: (list, separator) => asList(list).map(formatted).join(asText(separator)),
  flatten: (lists) => asList(lists).flatMap((list) => asList(list)),
  createArray: (...values) => values,
  createObject: (...pairs) => {
    const entries: [string, Json][] = [];
    for (let index = 0; index < pairs.length; index += 2) {
      entries.push([asText(pairs[index] ?? ''), pairs[index + 1] ?? null]);
    }
    return Object.fromEntries(entries);
  },
  max: (...values) => Math.max(...values.map(Number)),
  min: (...values) => Math.min(...values.map(Number)),
  mod: (left, right) => Number(left) % Number(right),
  greater: (left, right) => Number(left) > Number(right),
  greaterOrEquals: (left, right) => Number(left) >= Number(right),
  less: (left, right) => Number(left) < Number(right),
  lessOrEquals: (left, right) => Number(left) <= Number(right),
  base64: (text) => Buffer.from(asText(text)).toString('base64'),
  guid: (...parts) => nameGuid(parts.map(formatted).join('-')),
  uniqueString: (...parts) => shortHash(parts.map(formatted).join('-')),
  // Of the portal's forms alone.
  regexMatch: (text, pattern) => new RegExp(asText(pattern)).test(asText(text)),
  fail: (message) => {
    throw new TemplateFailure(asText(message));
  },
};

/** Any value as text; what is no text by itself, as JSON. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

function asText(value: Json | undefined): string {
  if (typeof value !== 'string') {
    throw new Error(`a string is needed, not ${JSON.stringify(value)}`);
  }
  return value;
}

function asList(value: Json | undefined): Json[] {
  if (!Array.isArray(value)) {
    throw new Error(`an array is needed, not ${JSON.stringify(value)}`);
  }
  return value;
}

export function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Azure does not tell the case of names apart. */
export function findKey(within: { [key: string]: Json }, name: string): string | undefined {
  return Object.keys(within).find((key) => key.toLowerCase() === name.toLowerCase());
}

function formatted(value: Json): string {
  if (typeof value === 'boolean') {
    return value ? 'True' : 'False';
  }
  return textOf(value);
}

/** A UUID of version 5 in the namespace that Azure uses. */
function nameGuid(name: string): string {
  const namespace = Buffer.from('11fb06fb712d4ddd98c7e71bbd588830', 'hex');
  const hash = createHash('sha1').update(namespace).update(name).digest().subarray(0, 16);
  hash.writeUInt8(((hash[6] ?? 0) & 0x0f) | 0x50, 6);
  hash.writeUInt8(((hash[8] ?? 0) & 0x3f) | 0x80, 8);
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Thirteen characters as Azure's; which ones is known to Azure alone. */
function shortHash(text: string): string {
  const digits = createHash('sha256').update(text).digest();
  return [...digits.subarray(0, 13)].map((byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte % 32]).join('');
}
