/**
 * ARM template expressions as values. They are built from calls and literals and turned into `[…]` strings in one place,
 * so that quoting is right by construction and a resource knows which others it mentions.
 */

type Node =
  | { kind: 'literal'; value: string | number | boolean }
  | { kind: 'call'; name: string; args: readonly Node[]; declares?: string }
  | { kind: 'member'; of: Node; name: string }
  | { kind: 'item'; of: Node; at: Node };

declare const meaning: unique symbol;

/** An expression that Azure evaluates to a `T`. */
export class Expr<T = unknown> {
  declare readonly [meaning]: T;
  readonly node: Node;

  constructor(node: Node) {
    this.node = node;
  }
}

/** `T`, with an expression allowed at every place. */
export type Arm<T> = Expr<T> | Plain<T>;
type Plain<T> = T extends readonly (infer Item)[]
  ? readonly Arm<Item>[]
  : T extends object
    ? { [Key in keyof T]: Arm<T[Key]> }
    : T;

/** JSON with expressions anywhere. */
export type ArmJson =
  | Expr
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly ArmJson[]
  | { [key: string]: ArmJson };

export function call<T>(name: string, ...args: ArmJson[]): Expr<T> {
  return new Expr<T>({ kind: 'call', name, args: args.map(toNode) });
}

/** A call that names a resource of this template, which must exist first. */
export function resourceCall<T>(declares: string, name: string, ...args: ArmJson[]): Expr<T> {
  return new Expr<T>({ kind: 'call', name, args: args.map(toNode), declares });
}

export function member<T>(of: Expr, ...path: string[]): Expr<T> {
  const node = path.reduce<Node>((parent, name) => ({ kind: 'member', of: parent, name }), of.node);
  return new Expr<T>(node);
}

export function item<T>(of: Expr<readonly T[]>, at: Arm<number>): Expr<T> {
  return new Expr<T>({ kind: 'item', of: of.node, at: toNode(at) });
}

/** Objects and arrays become `createObject` and `createArray`, so that they can stand inside a call. */
function toNode(value: ArmJson): Node {
  if (value instanceof Expr) {
    return value.node;
  }
  if (value === null || value === undefined) {
    return { kind: 'call', name: 'json', args: [{ kind: 'literal', value: 'null' }] };
  }
  if (Array.isArray(value)) {
    return { kind: 'call', name: 'createArray', args: value.map(toNode) };
  }
  if (typeof value === 'object') {
    const args = Object.entries(value).flatMap(([key, inner]) => [toNode(key), toNode(inner)]);
    return { kind: 'call', name: 'createObject', args };
  }
  return { kind: 'literal', value: value as string | number | boolean };
}

export const parameter = <T>(name: string): Expr<T> => call<T>('parameters', name);
export const variable = <T>(name: string): Expr<T> => call<T>('variables', name);
export const concat = (...parts: Arm<string>[]): Expr<string> => call('concat', ...parts);
export const equals = (left: ArmJson, right: ArmJson): Expr<boolean> => call('equals', left, right);
export const not = (condition: Expr<boolean>): Expr<boolean> => call('not', condition);
export const and = (...conditions: Expr<boolean>[]): Expr<boolean> => call('and', ...conditions);
export const or = (...conditions: Expr<boolean>[]): Expr<boolean> => call('or', ...conditions);
export const isEmpty = (value: ArmJson): Expr<boolean> => call('empty', value);
export const nothing = <T>(): Expr<T> => call<T>('json', 'null');

/** Azure evaluates the taken branch only. */
export function either<T>(condition: Expr<boolean>, yes: Arm<T>, no: Arm<T>): Expr<T> {
  return call('if', condition, yes as ArmJson, no as ArmJson);
}

/** JSON as it stands in the template file. */
export function toTemplate(value: ArmJson): unknown {
  if (value instanceof Expr) {
    return `[${print(value.node)}]`;
  }
  if (typeof value === 'string') {
    return value.startsWith('[') ? `[${value}` : value;
  }
  if (Array.isArray(value)) {
    return value.map(toTemplate);
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
    return Object.fromEntries(entries.map(([key, inner]) => [key, toTemplate(inner)]));
  }
  return value;
}

function print(node: Node): string {
  switch (node.kind) {
    case 'literal':
      return printLiteral(node.value);
    case 'call':
      return `${node.name}(${node.args.map(print).join(', ')})`;
    case 'member':
      return `${print(node.of)}.${node.name}`;
    case 'item':
      return `${print(node.of)}[${print(node.at)}]`;
  }
}

/** There are no boolean literals in the grammar: `true()` is a function. */
function printLiteral(value: string | number | boolean): string {
  if (typeof value === 'string') {
    return `'${value.replaceAll("'", "''")}'`;
  }
  return typeof value === 'boolean' ? `${value}()` : String(value);
}

/** Names of the declared resources that a value mentions. */
export function mentions(value: ArmJson): Set<string> {
  const found = new Set<string>();
  const visit = (inner: ArmJson): void => {
    if (inner instanceof Expr) {
      collect(inner.node, found);
    } else if (Array.isArray(inner)) {
      inner.forEach(visit);
    } else if (typeof inner === 'object' && inner !== null) {
      Object.values(inner).forEach(visit);
    }
  };
  visit(value);
  return found;
}

function collect(node: Node, found: Set<string>): void {
  if (node.kind === 'call') {
    if (node.declares !== undefined) {
      found.add(node.declares);
    }
    node.args.forEach((arg) => collect(arg, found));
  } else if (node.kind !== 'literal') {
    collect(node.of, found);
    if (node.kind === 'item') {
      collect(node.at, found);
    }
  }
}
