/** `./plenum azure simulate`: a deployment of the Azure template on this machine. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { makeRelease } from '../../../scripts/release.ts';
import { ROOT } from '../../../scripts/source-files.ts';
import type { Json } from '../expand/functions.ts';
import { viewFromOutside } from './outside-view.ts';
import { ScaleScenario } from './scale-scenario.ts';
import {
  insideNamespace,
  isInsideNamespace,
  loopbackNetwork,
  namespaceComplaint,
  namespaceNetwork,
} from './simulated-network.ts';
import { Simulation } from './simulation.ts';

const HELP = `Usage: ./plenum azure simulate [--parameters <file>] [--scenario scale] [--speed <factor>] [--namespaces]

Expands the Azure template and runs the cluster that it describes on this machine, with fakes of Azure's services: four
masters with Redis and Sentinel, media nodes that come and go, the load balancer, the first boot from the release.

  --parameters <file>  parameter file of the template (default: a small deployment with a self-signed certificate)
  --scenario scale     play a load that rises and falls, print what happened, and end
  --namespaces         give each machine a network namespace with the addresses and network rules of the template, and
                       try from outside which ports answer; needs root, and only a scenario can reach it
  --speed <factor>     let timers of scaling run so many times faster (default: 20 with a scenario, else 1)
`;

const small: Record<string, Json> = {
  stackName: 'plenum',
  certificateType: 'selfsigned',
  adminUsername: 'operator',
  adminSshKey: { sshPublicKey: 'ssh-ed25519 AAAA operator' },
  maxNumberOfMediaNodes: 3,
};

/** So little that a few people are a load. */
const scenarioCores = 0.2;
const readyMs = 120_000;
const scenarioMs = 120_000;

const startedMs = performance.now();

function say(line: string): void {
  console.log(`${((performance.now() - startedMs) / 1_000).toFixed(1).padStart(7)} s  ${line}`);
}

function readParameters(file: string | undefined): Record<string, Json> {
  if (file === undefined) {
    return small;
  }
  const { parameters } = JSON.parse(readFileSync(file, 'utf8')) as { parameters: Record<string, { value: Json }> };
  return Object.fromEntries(Object.entries(parameters).map(([name, { value }]) => [name, value]));
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      parameters: { type: 'string' },
      scenario: { type: 'string' },
      speed: { type: 'string' },
      namespaces: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const worker = process.env['MEDIASOUP_WORKER_BIN'];
  if (values.help || worker === undefined || ![undefined, 'scale'].includes(values.scenario)) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const isScenario = values.scenario !== undefined;
  const parameters = readParameters(values.parameters);
  if (values.namespaces && !isInsideNamespace()) {
    return startInside(args);
  }
  say(
    values.namespaces
      ? 'each machine has a network namespace with the network rules of the template'
      : 'addresses of the virtual network are loopback addresses: network rules are not enforced',
  );
  const folder = mkdtempSync(path.join(tmpdir(), 'plenum-release-'));
  try {
    const release = makeRelease({
      out: folder,
      baseUrl: 'https://127.0.0.1',
      name: 'simulated',
      worker,
      compression: 1,
    });
    say(`release ${release.version} is made`);
    const simulation = await Simulation.start({
      parameters,
      release,
      network: values.namespaces ? await namespaceNetwork() : await loopbackNetwork(),
      speed: Number(values.speed ?? (isScenario ? 20 : 1)),
      coresPerNode: isScenario ? scenarioCores : 1,
      say,
    });
    try {
      await Promise.race([simulation.ready(readyMs), interrupted()]);
      say('the cluster is ready');
      if (values.namespaces && !(await lookFromOutside(simulation))) {
        return 1;
      }
      const policy = parameters['drainPolicy'] === 'wait' ? 'wait' : 'migrate';
      return await Promise.race([isScenario ? playScale(simulation, policy) : stay(simulation), interrupted()]);
    } finally {
      await simulation.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs the same again where it can have a network of its own. */
async function startInside(args: string[]): Promise<number> {
  const complaint = namespaceComplaint();
  if (complaint !== '') {
    say(complaint);
    return 2;
  }
  const [program = '', ...rest] = insideNamespace([process.execPath, import.meta.filename, ...args]);
  const child = spawn(program, rest, { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => child.kill(signal));
  }
  const [status] = (await once(child, 'exit')) as [number | null];
  return status ?? 1;
}

async function lookFromOutside({ masters, media }: Simulation): Promise<boolean> {
  let isGood = true;
  const [media1] = media.values();
  for (const [machine, on] of [
    [masters[0], 'masters'],
    [media1, 'media'],
  ] as const) {
    if (machine !== undefined) {
      const { open, undocumented } = await viewFromOutside(machine.privateAddress, on);
      say(`from outside ${machine.computerName} answers on TCP ${open.join(', ')}`);
      if (undocumented.length > 0 || open.length === 0) {
        say(`not as documented: ${undocumented.join(', ')}`);
        isGood = false;
      }
    }
  }
  return isGood;
}

async function playScale(simulation: Simulation, policy: 'migrate' | 'wait'): Promise<number> {
  const options = { simulation, say, policy, until: 2, roomsAtMost: 14, timeoutMs: scenarioMs };
  const report = await new ScaleScenario(options).run();
  say(`at most ${report.nodesAtMost} media nodes, ${report.nodesAtTheEnd} at the end; ${report.people} people`);
  for (const { machineId, work, others } of report.victims) {
    say(`chosen to go: ${machineId} with work ${work}; the others had ${others.join(', ')}`);
  }
  say(`deleted: ${report.deleted.join(', ')}`);
  say(
    `moved with a new join: ${report.rejoinGapsMs.length} (in the call again after ${report.rejoinGapsMs.join(', ')} ms)`,
  );
  say(`audio gaps of those: ${report.audioGapsMs.join(', ')} ms`);
  say(`longest silence that somebody heard who stayed: ${Math.round(report.longestSilenceMs)} ms`);
  say(report.lost.length === 0 ? 'nobody lost a call' : `lost: ${report.lost.join('; ')}`);
  return report.lost.length === 0 ? 0 : 1;
}

async function stay(simulation: Simulation): Promise<number> {
  const { apiKey, apiSecret } = simulation.keys;
  const server = { LIVEKIT_URL: simulation.url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret };
  const who = ['token', 'create', '--room', 'demo', '--identity', 'you', '--link'];
  const program = path.join(ROOT, 'src/main.ts');
  const link = execFileSync(process.execPath, [program, ...who], {
    encoding: 'utf8',
    env: { ...process.env, ...server },
  });
  say(`join: ${link.trim()}`);
  say('stop with Ctrl-C');
  return interrupted();
}

async function interrupted(): Promise<number> {
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  say('stopping');
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
