/** The line protocol of the light endpoint (see main.c): `verb peer key=value …`. */

export type Fields = Record<string, string | number | boolean | undefined>;

/** One command line; booleans become 0 and 1, absent and undefined values are left out. */
export function formatCommand(verb: string, peerId: number, fields: Fields = {}): string {
  let line = `${verb} ${peerId}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || value === '') continue;
    const text = typeof value === 'boolean' ? String(Number(value)) : String(value);
    if (/[\s]/.test(text)) throw new Error(`value of ${key} holds white space: ${text}`);
    line += ` ${key}=${text}`;
  }
  return `${line}\n`;
}

export type EndpointEvent = { verb: string; peerId: number; text(key: string): string; number(key: string): number };

export function parseEvent(line: string): EndpointEvent {
  const words = line.split(' ');
  const fields = new Map<string, string>();
  for (const word of words.slice(2)) {
    const equals = word.indexOf('=');
    fields.set(word.slice(0, equals), word.slice(equals + 1));
  }
  return {
    verb: words[0] ?? '',
    peerId: Number(words[1] ?? 0),
    text: (key) => fields.get(key) ?? '',
    number: (key) => Number(fields.get(key) ?? 0),
  };
}
