/** The option table as rows, for `--help` and docs/reference/config.md. */
import { z } from 'zod';
import { configSchema } from './options.ts';

export type OptionRow = { name: string; type: string; defaultText: string; text: string };

type JsonSchema = {
  type?: string;
  enum?: unknown[];
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  additionalProperties?: unknown;
  default?: unknown;
  description?: string;
};

export function optionRows(): OptionRow[] {
  const schema = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  return collect(schema, '');
}

function collect(schema: JsonSchema, prefix: string): OptionRow[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, option]) => {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (option.properties !== undefined) {
      return collect(option, name);
    }
    const row = { name, type: typeName(option), defaultText: defaultText(option), text: option.description ?? '' };
    return option.items?.properties === undefined ? [row] : [row, ...collect(option.items, `${name}[]`)];
  });
}

function typeName(option: JsonSchema): string {
  if (option.enum !== undefined) {
    return option.enum.map(String).join(' \\| ');
  }
  if (option.type === 'array' || option.items !== undefined) {
    return 'list';
  }
  return option.type === 'object' ? 'map' : (option.type ?? 'list');
}

function defaultText(option: JsonSchema): string {
  const value = option.default;
  if (value === undefined) {
    return 'required';
  }
  if (Array.isArray(value) && value.some((item) => typeof item === 'object')) {
    return value.map((item: Record<string, unknown>) => String(Object.values(item)[0])).join(', ');
  }
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}

/** docs/reference/config.md, whole. */
export function configReference(): string {
  const rows = optionRows().map((row) => `| \`${row.name}\` | ${row.type} | \`${row.defaultText}\` | ${row.text} |`);
  return [
    '# Configuration',
    '',
    'Written from the option table in `src/config/options.ts` by `node scripts/docs.ts`; a test keeps the two equal.',
    'The file is YAML; names with dots are nested keys. A file of livekit-server is taken as it is: options of it that do',
    'not apply here are named in one warning ([coming from LiveKit](../coming-from-livekit.md)), and a key that neither',
    'knows is an error.',
    '',
    'Environment: `LIVEKIT_CONFIG` (the file as text, in place of `--config`), `LIVEKIT_KEYS` (`key: secret` lines),',
    '`LIVEKIT_REGION`, `NODE_IP` and `UDP_PORT` (as `rtc.node_ip` and `rtc.udp_port`), `REDIS_HOST`, `REDIS_PASSWORD`,',
    '`PLENUM_CLUSTER_SECRET`, `PLENUM_CLUSTER_PREVIOUS_SECRETS`, `PLENUM_REDIS_PASSWORD`, `PLENUM_REDIS_SENTINEL_PASSWORD`.',
    'Any option that is one value may also be a variable (`LIVEKIT_RTC_PORT_RANGE_START`) or a flag',
    '(`--rtc.port_range_start`). Flags win over the environment, the environment over the file.',
    '',
    '`key_file` names a file of `key: secret` lines that others must not be able to read; it stands in place of `keys`.',
    '`secret_file` of a TURN server stands in place of its `secret`.',
    '',
    '| option | type | default | meaning |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

/** The same table as text for a terminal. */
export function configHelp(): string {
  return optionRows()
    .map((row) => `  ${row.name} (${row.type.replaceAll('\\|', '|')}, default ${row.defaultText})\n      ${row.text}`)
    .join('\n');
}
