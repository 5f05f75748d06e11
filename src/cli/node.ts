/** `plenum node …`: sees the nodes of a running cluster and takes them out of service, through its admin API. */
import { setTimeout as delay } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { PlenumError } from '../lib/errors.ts';
import type { DrainRequestBody, NodeReport } from '../protocol/node-report.ts';
import { AdminClient } from './admin-client.ts';
import { parseDurationS } from './arguments.ts';
import { drainEndedOtherwise } from './errors.ts';
import { describeDrain, formatNode, formatNodes } from './node-tables.ts';
import { addServerOptions, type ServerOptions } from './server-options.ts';
import { type CliEnv, type CliOutput, formatJson } from './terminal.ts';

type CommonOptions = ServerOptions & { json?: boolean };
type StepOptions = CommonOptions & { reason: string };
type DrainOptions = StepOptions & { policy?: 'migrate' | 'wait'; deadline?: number; wait?: boolean };

const footer = `
Without options, the commands talk to the server of ./plenum dev on this machine. For a cluster name any of its masters:
set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or use --url, --api-key and --api-secret.

Exit status: 0 = done, 1 = no server answers, it refuses, or a drain that was waited for ended otherwise, 2 = wrong use.
`;

const lookIntervalMs = 500;
/** A master that is replaced, or a Redis that is away, is no reason to give up on a drain that goes on. */
const patienceMs = 120_000;

type Io = { env: CliEnv; out: CliOutput; err: CliOutput };

/** `err` takes complaints about wrong use, and progress when `--json` has the output. */
export function nodeCommand(env: CliEnv, out: CliOutput, err: CliOutput = process.stderr): Command {
  const io = { env, out, err };
  const node = new Command('node')
    .description('see the nodes of a cluster and take them out of service')
    .configureOutput({ writeOut: (text) => out.write(text), writeErr: (text) => err.write(text) })
    .exitOverride()
    .addHelpText('after', footer);
  addList(node, io);
  addShow(node, io);
  addStep(node, io, 'cordon', 'give a node no new rooms and participants; what runs there stays');
  addDrain(node, io);
  addStep(node, io, 'undrain', 'take a node that is cordoned or being drained back into service');
  return node;
}

function finish(command: Command, io: Io, example: string): Command {
  return addServerOptions(command, io.env)
    .option('--json', 'print JSON, as the admin API answers')
    .addHelpText('after', `\nExample:\n  ./plenum node ${command.name()} ${example}\n`);
}

function addList(node: Command, io: Io): void {
  const command = node.command('list').description('list masters and media nodes');
  finish(command, io, '').action(async () => {
    const options = command.opts<CommonOptions>();
    const nodes = await new AdminClient(options, io.env).list();
    io.out.write(options.json === true ? formatJson(nodes) : nodes.length === 0 ? 'No nodes.\n' : formatNodes(nodes));
  });
}

function addShow(node: Command, io: Io): void {
  const command = node.command('show <node>').description('show one node: state, why, and what it still waits for');
  finish(command, io, 'ND_2QmUYVvhnp6F').action(async (id: string) => {
    const options = command.opts<CommonOptions>();
    write(io, options, await new AdminClient(options, io.env).get(id));
  });
}

function addReason(command: Command): Command {
  return command.option('--reason <text>', 'why; shown to others', '');
}

function addStep(node: Command, io: Io, step: 'cordon' | 'undrain', description: string): void {
  const command = addReason(node.command(`${step} <node>`).description(description));
  finish(command, io, 'ND_2QmUYVvhnp6F --reason "kernel update"').action(async (id: string) => {
    const options = command.opts<StepOptions>();
    write(io, options, await new AdminClient(options, io.env).step(id, step, { reason: options.reason }));
  });
}

function addDrain(node: Command, io: Io): void {
  const command = addReason(node.command('drain <node>').description('empty a node; calls are moved, or waited for'))
    .addOption(
      new Option(
        '--policy <policy>',
        'move calls to other nodes, or wait until they end; else as `drain.policy` says',
      ).choices(['migrate', 'wait']),
    )
    .option(
      '--deadline <duration>',
      'such as 10m: whoever has not been moved by then is told to reconnect',
      parseDurationS,
    )
    .option('--wait', 'stay until the node is empty, and tell how it gets on');
  finish(command, io, 'ND_2QmUYVvhnp6F --policy migrate --reason "kernel update" --wait').action(async (id: string) => {
    const options = command.opts<DrainOptions>();
    const { policy, deadline, reason, wait } = options;
    if (policy === 'wait' && deadline !== undefined) {
      command.error('error: --deadline goes with --policy migrate: a drain that waits has no deadline');
    }
    const client = new AdminClient(options, io.env);
    const body: DrainRequestBody = {
      reason,
      ...(policy === undefined ? {} : { policy }),
      ...(deadline === undefined ? {} : { deadlineSeconds: deadline }),
    };
    const started = await client.step(id, 'drain', body);
    write(
      io,
      options,
      wait === true ? await follow(client, started, options.json === true ? io.err : io.out) : started,
    );
  });
}

function write(io: Io, options: CommonOptions, node: NodeReport): void {
  io.out.write(options.json === true ? formatJson(node) : formatNode(node));
}

/** Tells each change until the node is empty. Rejects when the drain ended in another way. */
async function follow(client: AdminClient, started: NodeReport, progress: CliOutput): Promise<NodeReport> {
  let node = started;
  let told = '';
  for (;;) {
    const line = describeDrain(node);
    if (line !== told) {
      told = line;
      progress.write(`${line}\n`);
    }
    if (node.state === 'DRAINED' || node.state === 'DELETING' || node.state === 'GONE') {
      return node;
    }
    if (node.state !== 'DRAINING') {
      throw drainEndedOtherwise(node);
    }
    await delay(lookIntervalMs);
    node = await getPatiently(client, node.id, progress);
  }
}

async function getPatiently(client: AdminClient, id: string, progress: CliOutput): Promise<NodeReport> {
  const giveUpAtMs = performance.now() + patienceMs;
  let isTold = false;
  for (;;) {
    try {
      return await client.get(id);
    } catch (error) {
      const mayPass = error instanceof PlenumError && error.code === 'unavailable';
      if (!mayPass || performance.now() > giveUpAtMs) {
        throw error;
      }
      if (!isTold) {
        progress.write(`no answer for now: ${error.message}\n`);
        isTold = true;
      }
      await delay(lookIntervalMs);
    }
  }
}
