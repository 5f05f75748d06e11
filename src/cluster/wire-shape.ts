/**
 * Cheap checks of decoded messages: that what the code will touch is there and of its type. Fields that are not named are
 * ignored, and texts that the code knows some values of (reasons, states) may have others: a newer node may send them.
 */

/** Looks at a value that came over the wire. The parameter only names the type that the check stands for. */
export type Check<Value = unknown> = { (value: unknown): boolean; readonly stands?: Value };

type Fields<Value> = { readonly [Key in keyof Value]-?: Check };

export const text: Check<string> = (value) => typeof value === 'string';
export const number: Check<number> = (value) => typeof value === 'number' && Number.isFinite(value);
export const flag: Check<boolean> = (value) => typeof value === 'boolean';
export const bytes: Check<Uint8Array> = (value) => value instanceof Uint8Array;

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

/** An object with these fields. The compiler asks for a check of each field that the type has. */
export function shape<Value>(fields: Fields<Value>): Check<Value> {
  const checks: [string, Check][] = Object.entries(fields);
  return (value) => {
    if (!isRecord(value)) {
      return false;
    }
    for (const [name, check] of checks) {
      if (!check(value[name])) {
        return false;
      }
    }
    return true;
  };
}

export function optional<Value>(check: Check<Value>): Check<Value | undefined> {
  return (value) => value === undefined || check(value);
}

export function list<Value>(check: Check<Value>): Check<Value[]> {
  return (value) => Array.isArray(value) && value.every((item) => check(item));
}

export function either(...checks: Check[]): Check {
  return (value) => checks.some((check) => check(value));
}

/** An object used as a map. */
export function record<Value>(check: Check<Value>): Check<Record<string, Value>> {
  return (value) => isRecord(value) && Object.values(value).every((item) => check(item));
}
