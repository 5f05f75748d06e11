import type { ResourceTypes } from './arm-types.ts';
import { call, mentions, resourceCall, toTemplate, type Arm, type ArmJson, type Expr } from './expression.ts';

export type TypeAtVersion = keyof ResourceTypes;

/** One resource of the template. `key` is its name in this program, by which others say that they need it. */
export type Resource = {
  key: string;
  type: string;
  apiVersion: string;
  /** One part per segment of the type. */
  name: readonly Arm<string>[];
  condition?: Expr<boolean>;
  copy?: { name: string; count: number };
  /** Needed without being mentioned. */
  after: readonly Resource[];
  body: Record<string, ArmJson>;
};

type Options = {
  key: string;
  name: Arm<string> | readonly Arm<string>[];
  condition?: Expr<boolean>;
  copy?: { name: string; count: number };
  after?: readonly Resource[];
};

export function resource<Type extends TypeAtVersion>(
  typeAtVersion: Type,
  options: Options,
  body: Arm<ResourceTypes[Type]> & object,
): Resource {
  const [type = '', apiVersion = ''] = typeAtVersion.split('@');
  const { name, after = [], ...rest } = options;
  return {
    ...rest,
    type,
    apiVersion,
    name: (Array.isArray(name) ? name : [name]) as readonly Arm<string>[],
    after,
    body: body as Record<string, ArmJson>,
  };
}

export function idOf(target: Resource): Expr<string> {
  const { scope } = target.body;
  if (scope !== undefined) {
    return resourceCall(target.key, 'extensionResourceId', scope, target.type, ...target.name);
  }
  return resourceCall(target.key, 'resourceId', target.type, ...target.name);
}

/** Something inside a resource that has an id of its own, such as a subnet. */
export function childIdOf(target: Resource, childType: string, childName: Arm<string>): Expr<string> {
  return resourceCall(target.key, 'resourceId', `${target.type}/${childType}`, ...target.name, childName);
}

/** What Azure says about the resource once it exists. */
export function stateOf<T>(target: Resource): Expr<T> {
  return resourceCall(target.key, 'reference', idOf(target), target.apiVersion);
}

/** Resources in the order given, with their dependencies worked out from what they mention. */
export function toTemplateResources(resources: readonly Resource[]): unknown[] {
  const byKey = new Map(resources.map((declared) => [declared.key, declared]));
  return resources.map((declared) => {
    const { key, type, apiVersion, name, condition, copy, after, body } = declared;
    const needed = new Set([...mentions(body), ...after.map((other) => other.key)]);
    needed.delete(key);
    const dependsOn = [...needed].toSorted().map((other) => dependency(byKey, key, other));
    return toTemplate({
      type,
      apiVersion,
      name: name.length === 1 ? name[0] : call('format', name.map((_, index) => `{${index}}`).join('/'), ...name),
      ...(condition === undefined ? {} : { condition }),
      ...(copy === undefined ? {} : { copy }),
      ...body,
      ...(dependsOn.length === 0 ? {} : { dependsOn }),
    });
  });
}

/** A resource of the same loop is needed at the same index, a whole loop by its name. */
function dependency(byKey: Map<string, Resource>, from: string, to: string): ArmJson {
  const target = byKey.get(to);
  if (target === undefined) {
    throw new Error(`${from} needs ${to}, which is not in the template`);
  }
  return target.copy === undefined || byKey.get(from)?.copy !== undefined ? idOf(target) : target.copy.name;
}
