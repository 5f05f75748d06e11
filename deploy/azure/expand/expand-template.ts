/** Expands a template with parameters into the resources that Azure would be asked for. */
import { evaluateAll, evaluateText, type Surroundings } from './evaluate.ts';
import { isObject, textOf, type Json } from './functions.ts';

type JsonObject = { [key: string]: Json };

/** Where and by whom a template is deployed, and what exists already. */
export type DeploymentContext = {
  subscriptionId: string;
  tenantId: string;
  resourceGroup: string;
  location: string;
  deployerObjectId: string;
  zones: readonly string[];
  /** State of a resource by its id, as `reference` gives it. */
  reference: (id: string) => JsonObject;
  suffixes?: { keyvaultDns: string; storage: string };
  resourceManager?: string;
};

export type ExpandedResource = {
  type: string;
  apiVersion: string;
  name: string;
  id: string;
  dependsOn: string[];
  /** The body as it is sent, with name and type. */
  body: JsonObject;
};

export type ExpandedTemplate = {
  resources: ExpandedResource[];
  /** Ids and loop names of all resources, also of those whose condition is not met. */
  declared: Set<string>;
  outputs: Record<string, Json>;
};

type Template = {
  parameters: Record<string, JsonObject>;
  variables?: Record<string, Json>;
  resources: JsonObject[];
  outputs?: Record<string, { value: Json }>;
};

/** @throws Error that names the parameter, resource or expression at fault */
export function expandTemplate(
  template: unknown,
  parameters: Record<string, Json>,
  context: DeploymentContext,
): ExpandedTemplate {
  const parsed = template as Template;
  const surroundings = surroundingsOf(parsed, checkedParameters(parsed, parameters), context);
  const all = parsed.resources.flatMap((declared) => expandResource(declared, surroundings, context));
  const loops = parsed.resources.map(({ copy }) => (isObject(copy) ? textOf(copy['name']) : ''));
  const outputs = Object.entries(parsed.outputs ?? {}).map(([name, output]) => [
    name,
    evaluateAll(output.value, surroundings),
  ]);
  const resources = all.filter(({ isWanted }) => isWanted).map(({ resource }) => resource);
  const declared = new Set([...all.map(({ resource }) => resource.id), ...loops]);
  return { resources, declared, outputs: Object.fromEntries(outputs) as Record<string, Json> };
}

/** Parameters with the defaults still to be evaluated; limits are checked as Azure does before anything else. */
function checkedParameters(template: Template, given: Record<string, Json>): Record<string, Json> {
  const unknown = Object.keys(given).filter((name) => template.parameters[name] === undefined);
  if (unknown.length > 0) {
    throw new Error(`the template has no parameter ${unknown.join(', ')}`);
  }
  return Object.fromEntries(
    Object.entries(template.parameters).map(([name, declared]) => {
      const value = given[name] ?? declared['defaultValue'];
      if (value === undefined) {
        throw new Error(`the parameter ${name} is missing`);
      }
      if (given[name] !== undefined) {
        checkParameter(name, declared, given[name]);
      }
      return [name, value];
    }),
  );
}

const javascriptTypes: Readonly<Record<string, string>> = {
  string: 'string',
  securestring: 'string',
  int: 'number',
  object: 'object',
  secureobject: 'object',
};

function checkParameter(name: string, declared: JsonObject, value: Json): void {
  const { type, allowedValues, minValue, maxValue, minLength, maxLength } = declared;
  const complain = (what: string): never => {
    throw new Error(`the parameter ${name} ${what}, and is ${JSON.stringify(value)}`);
  };
  if (typeof value !== javascriptTypes[textOf(type).toLowerCase()]) {
    complain(`must be of type ${textOf(type)}`);
  }
  if (Array.isArray(allowedValues) && !allowedValues.includes(value)) {
    complain(`must be one of ${textOf(allowedValues)}`);
  }
  const size = typeof value === 'string' ? value.length : Number(value);
  const [least, most] = typeof value === 'string' ? [minLength, maxLength] : [minValue, maxValue];
  if ((typeof least === 'number' && size < least) || (typeof most === 'number' && size > most)) {
    complain(`must be from ${textOf(least)} to ${textOf(most)}`);
  }
}

function surroundingsOf(
  template: Template,
  parameters: Record<string, Json>,
  context: DeploymentContext,
): Surroundings {
  const known = new Map<string, Json>();
  const groupId = `/subscriptions/${context.subscriptionId}/resourceGroups/${context.resourceGroup}`;
  const lazily = (kind: string, from: Record<string, Json>, name: Json): Json => {
    const key = `${kind} ${textOf(name)}`;
    const value = known.get(key) ?? evaluateAll(must(from[textOf(name)], `there is no ${key}`), surroundings);
    known.set(key, value);
    return value;
  };
  const surroundings: Surroundings = {
    parameters: (name) => lazily('parameter', parameters, name),
    variables: (name) => lazily('variable', template.variables ?? {}, name),
    resourceGroup: () => ({ id: groupId, name: context.resourceGroup, location: context.location }),
    subscription: () => ({ subscriptionId: context.subscriptionId, id: `/subscriptions/${context.subscriptionId}` }),
    tenant: () => ({ tenantId: context.tenantId }),
    deployer: () => ({ objectId: context.deployerObjectId, tenantId: context.tenantId }),
    environment: () => ({
      suffixes: context.suffixes ?? { keyvaultDns: '.vault.azure.net', storage: 'core.windows.net' },
      resourceManager: context.resourceManager ?? 'https://management.azure.com/',
    }),
    pickZones: (_provider, _type, _location, count) => context.zones.slice(0, Number(count ?? 1)),
    resourceId: (...args) => resourceId(context, args.map(textOf)),
    subscriptionResourceId: (type, ...names) =>
      `/subscriptions/${context.subscriptionId}/providers/${typedPath(textOf(type), names.map(textOf))}`,
    extensionResourceId: (scope, type, ...names) =>
      `${textOf(scope)}/providers/${typedPath(textOf(type), names.map(textOf))}`,
    reference: (id) => context.reference(textOf(id)),
  };
  return surroundings;
}

/** `resourceId` takes a group before the type, and then a subscription before the group. */
function resourceId(context: DeploymentContext, args: string[]): string {
  const at = args.findIndex((arg) => arg.includes('/'));
  const [group = context.resourceGroup, subscription = context.subscriptionId] = args.slice(0, at).toReversed();
  return `/subscriptions/${subscription}/resourceGroups/${group}/providers/${typedPath(args[at] ?? '', args.slice(at + 1))}`;
}

function typedPath(type: string, names: string[]): string {
  const [provider = '', ...segments] = type.split('/');
  if (segments.length !== names.length) {
    throw new Error(`${type} needs ${segments.length} names, not ${names.length}: ${names.join(', ')}`);
  }
  return [provider, ...segments.flatMap((segment, index) => [segment, names[index] ?? ''])].join('/');
}

function expandResource(
  declared: JsonObject,
  surroundings: Surroundings,
  context: DeploymentContext,
): { resource: ExpandedResource; isWanted: boolean }[] {
  const { copy, condition, ...rest } = declared;
  const isWanted = condition === undefined || evaluateAll(condition, surroundings) === true;
  const count = isObject(copy) ? Number(copy['count']) : 1;
  return Array.from({ length: count }, (_, index) => {
    const here: Surroundings = isObject(copy)
      ? { ...surroundings, copyIndex: (offset) => index + Number(offset ?? 0) }
      : surroundings;
    return { resource: expandOne(rest, here, context), isWanted };
  });
}

function expandOne(declared: JsonObject, surroundings: Surroundings, context: DeploymentContext): ExpandedResource {
  const { dependsOn = [], ...body } = declared;
  const type = textOf(body['type']);
  const name = textOf(evaluateText(textOf(body['name']), surroundings));
  try {
    const expanded = withoutNulls(evaluateAll(body, surroundings)) as JsonObject;
    const scope = expanded['scope'];
    const path = typedPath(type, name.split('/'));
    const id =
      typeof scope === 'string' ? `${scope}/providers/${path}` : resourceId(context, [type, ...name.split('/')]);
    return {
      type,
      apiVersion: textOf(body['apiVersion']),
      name,
      id,
      dependsOn: (evaluateAll(dependsOn, surroundings) as string[]) ?? [],
      body: expanded,
    };
  } catch (error) {
    throw new Error(`${type} ${name}: ${error instanceof Error ? error.message : textOf(error)}`, { cause: error });
  }
}

/** A property that is null counts as left out. */
function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) {
    return value.map(withoutNulls);
  }
  if (isObject(value)) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, inner]) => inner !== null)
        .map(([key, inner]) => [key, withoutNulls(inner)]),
    );
  }
  return value;
}

function must<T>(value: T | undefined, complaint: string): T {
  if (value === undefined) {
    throw new Error(complaint);
  }
  return value;
}
