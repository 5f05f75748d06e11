/** Bounds on what participants and the API may store in a room. Sizes are bytes of UTF-8. */
import type { RoomSettings } from './settings.ts';

export type Described = { name?: string; metadata?: string; attributes?: Record<string, string> };

/** The first bound that is broken, in words; undefined when all is well. */
export function brokenLimit(described: Described, settings: RoomSettings): string | undefined {
  if ((described.name ?? '').length > settings.maxNameLength) {
    return `name exceeds limits: more than ${settings.maxNameLength} characters`;
  }
  if (byteLength(described.metadata ?? '') > settings.maxMetadataBytes) {
    return `metadata size exceeds limits: more than ${settings.maxMetadataBytes} bytes`;
  }
  let attributesBytes = 0;
  for (const [key, value] of Object.entries(described.attributes ?? {})) {
    attributesBytes += byteLength(key) + byteLength(value);
  }
  return attributesBytes > settings.maxAttributesBytes
    ? `attributes size exceeds limits: more than ${settings.maxAttributesBytes} bytes`
    : undefined;
}

/** Changes by key; an empty value removes. */
export function mergeAttributes(
  current: Record<string, string>,
  changes: Record<string, string>,
): Record<string, string> {
  const merged = new Map(Object.entries(current));
  for (const [key, value] of Object.entries(changes)) {
    if (value === '') {
      merged.delete(key);
    } else {
      merged.set(key, value);
    }
  }
  return Object.fromEntries(merged);
}

export function byteLength(text: string): number {
  return Buffer.byteLength(text);
}
