/** `plenum capacity …`: what the master that leads capacity sees and has decided. */
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { badConfig } from '../config/errors.ts';
import type { Config } from '../config/options.ts';
import type { ShownCapacity } from '../protocol/capacity-report.ts';
import { AdminClient } from './admin-client.ts';
import { addServerOptions, type ServerOptions } from './server-options.ts';
import { type CliEnv, type CliOutput, formatJson, formatTable, toPrintable } from './terminal.ts';

type CapacityOptions = ServerOptions & { config?: string; json?: boolean };

/** Where masters of an Azure deployment have it. */
const installedConfig = '/etc/plenum/plenum.yaml';

const footer = `
It asks any master of the cluster. On a master, as root, it needs no options: address and key are in ${installedConfig}.
From elsewhere set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or use --url, --api-key and --api-secret.

Examples:
  sudo plenum capacity status
  ./plenum capacity status --url https://meet.example.com --api-key … --api-secret …
`;

/** @param readConfig reads the file of a node of the cluster */
export function capacityCommand(env: CliEnv, out: CliOutput, readConfig: (file: string) => Config): Command {
  const capacity = new Command('capacity').description('see how many media nodes there are, and why');
  const status = capacity.command('status').description('show machines, demand and the latest decisions');
  addServerOptions(status, env)
    .option('--config <file>', 'take address and key from the configuration of this master')
    .option('--json', 'print JSON, as the admin API answers')
    .addHelpText('after', footer)
    .action(async () => {
      const { config, json, ...given } = status.opts<CapacityOptions>();
      const isNamed = status.getOptionValueSource('url') === 'cli' || (env['LIVEKIT_URL'] ?? '') !== '';
      const file = config ?? (!isNamed && existsSync(installedConfig) ? installedConfig : undefined);
      const server = file === undefined ? given : serverOf(readConfig(file));
      const report = await new AdminClient(server, env).capacity();
      out.write(json === true ? formatJson(report) : describe(report));
    });
  return capacity;
}

/** The server that runs with this configuration on this machine. */
function serverOf({ bind_addresses, port, keys }: Config): ServerOptions {
  const [key] = Object.entries(keys);
  if (key === undefined) {
    throw badConfig(['`keys` has no API key']);
  }
  const bound = bind_addresses[0] ?? '';
  const address = ['', '0.0.0.0', '::'].includes(bound) ? '127.0.0.1' : bound;
  const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}`;
  return { url, apiKey: key[0], apiSecret: key[1] };
}

function describe(report: ShownCapacity): string {
  const { demand, machines, decisions, warnings } = report;
  const because = demand.because === undefined ? 'the minimum' : demand.because;
  const metrics = demand.metrics.map(({ name, total, target, nodes }) => [
    name,
    round(total),
    round(target),
    String(nodes),
  ]);
  const parts = [
    `${report.leader} leads, provider ${report.provider}. Wanted: ${demand.nodes} media nodes, because of ${because}.\n`,
    metrics.length === 0 ? '' : formatTable([['LOAD', 'TOTAL', 'PER NODE', 'NODES'], ...metrics]),
    formatTable([
      ['MACHINE', 'ZONE', 'PHASE', 'WORK', 'VERSION'],
      ...machines.map((machine) => [
        machine.machineId,
        machine.zone,
        machine.phase,
        String(machine.work),
        machine.version,
      ]),
    ]),
    decisions.length === 0
      ? 'No decisions yet.\n'
      : formatTable([
          ['AGO', 'DECISION', 'REASON'],
          ...decisions.map(({ agoMs, what, reason }) => [`${Math.round(agoMs / 1_000)} s`, what, reason]),
        ]),
    ...warnings.map((warning) => `Warning: ${toPrintable(warning)}\n`),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

const round = (value: number): string => String(Math.round(value * 100) / 100);
