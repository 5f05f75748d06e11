/** `plenum capacity …`: what the master that leads capacity sees and has decided. */
import { Command } from 'commander';
import { redisOptions } from '../cluster/redis-config.ts';
import { RedisStore } from '../cluster/redis-store.ts';
import { badConfig } from '../config/errors.ts';
import type { Config } from '../config/options.ts';
import { createLog } from '../observe/log.ts';
import { askCapacityReport, type ShownCapacity } from '../scaling/capacity-reports.ts';
import { type CliOutput, formatJson, formatTable, toPrintable } from './terminal.ts';

type CapacityOptions = { config: string; json?: boolean };

const connectMs = 5_000;

/** @param readConfig reads the file of a node of the cluster */
export function capacityCommand(readConfig: (file: string) => Config, out: CliOutput): Command {
  const capacity = new Command('capacity').description('see how many media nodes there are, and why');
  const status = capacity.command('status').description('show machines, demand and the latest decisions');
  status
    .option('--config <file>', 'configuration of a node of the cluster', '/etc/plenum/plenum.yaml')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample, on a master:\n  sudo plenum capacity status\n')
    .action(async () => {
      const { config, json } = status.opts<CapacityOptions>();
      const report = await askCluster(readConfig(config));
      out.write(json === true ? formatJson(report) : describe(report));
    });
  return capacity;
}

async function askCluster(config: Config): Promise<ShownCapacity> {
  const log = createLog({ level: 'error', json: true });
  const options = redisOptions(config, { clientName: 'plenum-cli', log });
  if (options === undefined) {
    throw badConfig(['`redis.address` or Sentinel is needed to reach the cluster']);
  }
  const store = new RedisStore(options);
  try {
    await store.ready(connectMs);
    return await askCapacityReport(store.bus);
  } finally {
    await store.close();
  }
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
