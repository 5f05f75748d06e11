import { findKey, isObject, pureFunctions, textOf, type Json } from './functions.ts';
import { expressionIn, parseExpression, type ParsedExpression } from './parse-expression.ts';

/** Functions that need to know where they are evaluated; arguments come evaluated. */
export type Surroundings = Readonly<Record<string, (...args: Json[]) => Json>>;

/** A copy of a JSON value with every expression in it evaluated. */
export function evaluateAll(value: Json, surroundings: Surroundings): Json {
  if (typeof value === 'string') {
    return evaluateText(value, surroundings);
  }
  if (Array.isArray(value)) {
    return value.map((inner) => evaluateAll(inner, surroundings));
  }
  if (isObject(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [
        textOf(evaluateText(key, surroundings)),
        evaluateAll(inner, surroundings),
      ]),
    );
  }
  return value;
}

export function evaluateText(text: string, surroundings: Surroundings): Json {
  const source = expressionIn(text);
  if (source === undefined) {
    return text.startsWith('[[') ? text.slice(1) : text;
  }
  return evaluate(parseExpression(source), surroundings);
}

function evaluate(node: ParsedExpression, surroundings: Surroundings): Json {
  switch (node.kind) {
    case 'literal':
      return node.value;
    case 'member': {
      const of = evaluate(node.of, surroundings);
      return node.optional ? (lookUp(of, node.name) ?? null) : mustLookUp(of, node.name);
    }
    case 'item':
      return mustLookUp(evaluate(node.of, surroundings), evaluate(node.at, surroundings));
    case 'call':
      return evaluateCall(node, surroundings);
  }
}

/** `if`, `coalesce` and `tryGet` do not look at what they do not need. */
function evaluateCall({ name, args }: ParsedExpression & { kind: 'call' }, surroundings: Surroundings): Json {
  const value = (index: number): Json => {
    const arg = args[index];
    if (arg === undefined) {
      throw new Error(`${name} needs more than ${args.length} arguments`);
    }
    return evaluate(arg, surroundings);
  };
  switch (name.toLowerCase()) {
    case 'if':
      return value(0) === true ? value(1) : value(2);
    case 'coalesce':
      return args.map((_, index) => index).reduce<Json>((found, index) => found ?? value(index), null);
    case 'tryget':
      return args.slice(1).reduce<Json>((of, _, index) => lookUp(of, value(index + 1)) ?? null, value(0));
  }
  const found = [surroundings, pureFunctions].flatMap((functions) =>
    Object.entries(functions).filter(([known]) => known.toLowerCase() === name.toLowerCase()),
  )[0];
  if (found === undefined) {
    throw new Error(`the function ${name} is not known here`);
  }
  return found[1](...args.map((_, index) => value(index)));
}

function lookUp(of: Json, name: Json): Json | undefined {
  if (Array.isArray(of) && typeof name === 'number') {
    return of[name];
  }
  if (isObject(of) && typeof name === 'string') {
    const key = findKey(of, name);
    return key === undefined ? undefined : of[key];
  }
  return undefined;
}

function mustLookUp(of: Json, name: Json): Json {
  const found = lookUp(of, name);
  if (found === undefined) {
    throw new Error(`there is no ${JSON.stringify(name)} in ${JSON.stringify(of)?.slice(0, 200)}`);
  }
  return found;
}
