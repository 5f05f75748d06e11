/** `./plenum azure simulate`: a deployment of the Azure template on this machine. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { makeRelease } from '../../../scripts/release.ts';
import { ROOT } from '../../../scripts/source-files.ts';
import type { Json } from '../expand/functions.ts';
import { ScaleScenario } from './scale-scenario.ts';
import { Simulation } from './simulation.ts';

const HELP = `Usage: ./plenum azure simulate [--parameters <file>] [--scenario scale] [--speed <factor>]

Expands the Azure template and runs the cluster that it describes on this machine, with fakes of Azure's services: four
masters with Redis and Sentinel, media nodes that come and go, the load balancer, the first boot from the release.

  --parameters <file>  parameter file of the template (default: a small deployment with a self-signed certificate)
  --scenario scale     play a load that rises and falls, print what happened, and end
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
      help: { type: 'boolean', default: false },
    },
  });
  const worker = process.env['MEDIASOUP_WORKER_BIN'];
  if (values.help || worker === undefined || ![undefined, 'scale'].includes(values.scenario)) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const isScenario = values.scenario !== undefined;
  say('addresses of the virtual network are loopback addresses: network rules are not enforced');
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
      parameters: readParameters(values.parameters),
      release,
      speed: Number(values.speed ?? (isScenario ? 20 : 1)),
      coresPerNode: isScenario ? scenarioCores : 1,
      say,
    });
    try {
      await Promise.race([simulation.ready(readyMs), interrupted()]);
      say('the cluster is ready');
      return await Promise.race([isScenario ? playScale(simulation) : stay(simulation), interrupted()]);
    } finally {
      await simulation.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function playScale(simulation: Simulation): Promise<number> {
  const options = { simulation, say, until: 2, roomsAtMost: 14, timeoutMs: scenarioMs };
  const report = await new ScaleScenario(options).run();
  say(`at most ${report.nodesAtMost} media nodes, ${report.nodesAtTheEnd} at the end; ${report.people} people`);
  say(`deleted: ${report.deleted.join(', ')}`);
  say(`rejoins: ${report.rejoinGapsMs.length} (${report.rejoinGapsMs.join(', ')} ms)`);
  say(`longest silence of those who stayed: ${Math.round(report.longestSilenceMs)} ms`);
  say(report.lost.length === 0 ? 'nobody lost a call' : `lost: ${report.lost.join('; ')}`);
  return report.lost.length === 0 ? 0 : 1;
}

async function stay(simulation: Simulation): Promise<number> {
  const { apiKey, apiSecret } = simulation.keys;
  const server = ['--url', simulation.url, '--api-key', apiKey, '--api-secret', apiSecret];
  const who = ['token', 'create', '--room', 'demo', '--identity', 'you', '--link', ...server];
  const link = execFileSync(process.execPath, [path.join(ROOT, 'src/main.ts'), ...who], { encoding: 'utf8' });
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
