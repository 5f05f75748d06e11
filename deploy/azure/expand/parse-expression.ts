/** The grammar of ARM expressions: calls, strings, integers, member and item access. */

export type ParsedExpression =
  | { kind: 'literal'; value: string | number }
  | { kind: 'call'; name: string; args: ParsedExpression[] }
  | { kind: 'member'; of: ParsedExpression; name: string; optional: boolean }
  | { kind: 'item'; of: ParsedExpression; at: ParsedExpression };

type Token = { kind: 'name' | 'string' | 'number' | 'mark' | 'end'; text: string; at: number };

/** `[x]` is an expression, `[[x` is the text `[x`, anything else is itself. */
export function expressionIn(text: string): string | undefined {
  return text.startsWith('[') && text.endsWith(']') && !text.startsWith('[[') ? text.slice(1, -1) : undefined;
}

/** @throws Error that says where the text stops to make sense */
export function parseExpression(source: string): ParsedExpression {
  const parser = new Parser(tokens(source), source);
  const parsed = parser.expression();
  parser.take('end');
  return parsed;
}

const pattern =
  /\s*(?:(?<name>[A-Za-z_][A-Za-z0-9_]*)|(?<number>-?\d+)|'(?<string>(?:[^']|'')*)'|(?<mark>[().,[\]?]))/y;

function tokens(source: string): Token[] {
  const found: Token[] = [];
  pattern.lastIndex = 0;
  while (source.slice(pattern.lastIndex).trim() !== '') {
    const at = pattern.lastIndex;
    const match = pattern.exec(source);
    if (match?.groups === undefined) {
      throw new Error(`cannot read the expression at ${at}: ${source.slice(at, at + 40)}`);
    }
    const [kind, text] = Object.entries(match.groups).find(([, value]) => value !== undefined) ?? ['mark', ''];
    found.push({ kind: kind as Token['kind'], text: kind === 'string' ? text.replaceAll("''", "'") : text, at });
  }
  found.push({ kind: 'end', text: '', at: source.length });
  return found;
}

class Parser {
  readonly #tokens: Token[];
  readonly #source: string;
  #position = 0;

  constructor(list: Token[], source: string) {
    this.#tokens = list;
    this.#source = source;
  }

  expression(): ParsedExpression {
    let parsed = this.#primary();
    for (;;) {
      if (this.#skip('.')) {
        const optional = this.#skip('?');
        parsed = { kind: 'member', of: parsed, name: this.take('name').text, optional };
      } else if (this.#skip('[')) {
        const at = this.expression();
        this.#expect(']');
        parsed = { kind: 'item', of: parsed, at };
      } else {
        return parsed;
      }
    }
  }

  take(kind: Token['kind']): Token {
    const token = this.#next();
    if (token.kind !== kind) {
      throw this.#error(`a ${kind}`, token);
    }
    this.#position += 1;
    return token;
  }

  #primary(): ParsedExpression {
    const token = this.#next();
    this.#position += 1;
    switch (token.kind) {
      case 'string':
        return { kind: 'literal', value: token.text };
      case 'number':
        return { kind: 'literal', value: Number(token.text) };
      case 'name':
        return { kind: 'call', name: token.text, args: this.#arguments() };
      case 'mark':
      case 'end':
        throw this.#error('a value', token);
    }
  }

  #arguments(): ParsedExpression[] {
    this.#expect('(');
    const args: ParsedExpression[] = [];
    if (this.#skip(')')) {
      return args;
    }
    do {
      args.push(this.expression());
    } while (this.#skip(','));
    this.#expect(')');
    return args;
  }

  #skip(mark: string): boolean {
    const { kind, text } = this.#next();
    const isThere = kind === 'mark' && text === mark;
    this.#position += isThere ? 1 : 0;
    return isThere;
  }

  #expect(mark: string): void {
    if (!this.#skip(mark)) {
      throw this.#error(`"${mark}"`, this.#next());
    }
  }

  #next(): Token {
    return this.#tokens[this.#position] ?? { kind: 'end', text: '', at: this.#source.length };
  }

  #error(wanted: string, found: Token): Error {
    return new Error(`expected ${wanted} at ${found.at}, found "${found.text}" in: ${this.#source.slice(0, 120)}`);
  }
}
