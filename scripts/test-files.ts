import { sourceFiles } from './source-files.ts';

/** Files that run together in one process, or one after the other. */
export type TestStage = { name: string; files: string[]; together: boolean; deadlineMs: number };

const MINUTE_MS = 60_000;

/**
 * Sorts the test files into stages by what their suffix and folder say they need. Real media never runs beside anything
 * else: on few cores, tests of timing and loss would disturb each other.
 */
export function testStages(options: { long: boolean; only: string }): TestStage[] {
  const files = ['src', 'test', 'web', 'deploy', 'bench', 'worker']
    .flatMap((folder) => sourceFiles(folder))
    .filter((path) => path.endsWith('.test.ts') && path.includes(options.only));
  const take = (wanted: (path: string) => boolean): string[] => {
    const taken = files.filter(wanted);
    for (const path of taken) {
      files.splice(files.indexOf(path), 1);
    }
    return taken;
  };
  const long = take((path) => path.endsWith('.long.test.ts'));
  const redis = take((path) => path.endsWith('.redis.test.ts'));
  const cluster = take((path) => path.startsWith('test/cluster/'));
  const deployments = take((path) => path.startsWith('deploy/azure/test/simulation'));
  const media = take((path) => path.endsWith('.media.test.ts') || /^(test|worker|deploy)\//.test(path));
  return [
    { name: 'pure', files, together: true, deadlineMs: 1.5 * MINUTE_MS },
    { name: 'redis', files: redis, together: false, deadlineMs: 2 * MINUTE_MS },
    { name: 'media', files: media, together: false, deadlineMs: 3 * MINUTE_MS },
    { name: 'cluster', files: cluster, together: false, deadlineMs: 3 * MINUTE_MS },
    // A release, four masters with Redis, and media nodes that come and go: minutes, not seconds.
    { name: 'deployments', files: deployments, together: false, deadlineMs: 4 * MINUTE_MS },
    { name: 'long', files: options.long ? long : [], together: false, deadlineMs: 60 * MINUTE_MS },
  ];
}
