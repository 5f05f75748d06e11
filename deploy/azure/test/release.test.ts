import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { partsList, releasedPackages } from '../../../scripts/parts-list.ts';
import { makeRelease, type Release } from '../../../scripts/release.ts';
import { ROOT } from '../../../scripts/source-files.ts';
import { generatedFiles } from '../generated-files.ts';

describe('a release', () => {
  let folder: string;
  let release: Release;
  const at = (name: string): string => path.join(folder, name);
  const make = (out: string): Release =>
    makeRelease({
      out: at(out),
      baseUrl: 'https://releases.example.com/a/',
      name: 'test',
      // It is packed, not run.
      worker: '/bin/true',
      compression: 1,
    });

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'plenum-release-test-'));
    release = make('one');
    mkdirSync(at('unpacked'));
    execFileSync('tar', ['-xzf', release.file, '-C', at('unpacked')]);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('is the same file whenever it is made from the same sources', () => {
    assert.equal(make('two').sha256, release.sha256);
  });

  it('has its checksum beside it, as sha256sum takes it, and in the template with its address', () => {
    const actual = createHash('sha256').update(readFileSync(release.file)).digest('hex');
    assert.equal(release.sha256, actual);
    execFileSync('sha256sum', ['--check', '--quiet', `${path.basename(release.file)}.sha256`], { cwd: at('one') });
    const url = 'https://releases.example.com/a/plenum-0.1.0%2Btest-linux-x64.tar.gz';
    const template = readFileSync(at('one/azuredeploy.json'), 'utf8');
    assert.equal(template, generatedFiles({ url, sha256: actual })['azuredeploy.json']);
    const { parameters } = JSON.parse(template) as { parameters: Record<string, { defaultValue?: string }> };
    assert.equal(parameters['releaseUrl']?.defaultValue, url);
    assert.equal(parameters['releaseSha256']?.defaultValue, actual);
    assert.ok(existsSync(at('one/uiFormDefinition.json')));
  });

  it('runs by itself, and states the version that it was given', () => {
    const program = at('unpacked/bin/plenum');
    // Neither the Node nor the packages of this machine.
    const env = { PATH: '/usr/bin:/bin', HOME: folder, NODE_COMPILE_CACHE: at('cache') };
    const args = ['token', 'create', '--room', 'demo', '--identity', 'ana', '--json'];
    const made = execFileSync(program, args, { encoding: 'utf8', env, cwd: folder });
    assert.match(made, /eyJ/);
    const manifest = JSON.parse(readFileSync(at('unpacked/package.json'), 'utf8')) as Record<string, unknown>;
    assert.equal(manifest['version'], release.version);
    assert.equal(manifest['devDependencies'], undefined);
  });

  it('holds what production needs and nothing that only tests and development do', () => {
    const names = execFileSync('tar', ['-tzf', release.file], { encoding: 'utf8', maxBuffer: 1 << 26 }).split('\n');
    for (const needed of ['node', 'mediasoup-worker', 'src/main.ts', 'LICENSE', 'node_modules/mediasoup/package.json'])
      assert.ok(names.includes(`./${needed}`), needed);
    const ours = names.filter((name) => name.startsWith('./src/') || /^\.\/(test|deploy|bench|scripts)\//.test(name));
    assert.deepEqual(
      ours.filter((name) => /\.test\.ts$|^\.\/(test|deploy|bench|scripts)\//.test(name)),
      [],
    );
    for (const unwanted of ['azurite', 'typescript', 'playwright-core', '@livekit/rtc-node', '@azure/arm-network'])
      assert.ok(!names.some((name) => name.startsWith(`./node_modules/${unwanted}/`)), unwanted);
  });

  it('has a list of its parts that names all of them, and no others', () => {
    const { components, ...about } = partsList(ROOT);
    assert.equal(about['bomFormat'], 'CycloneDX');
    const listed = components.filter(({ type }) => type === 'library').map(({ name, version }) => `${name}@${version}`);
    const packed = execFileSync(
      'find',
      [at('unpacked/node_modules'), '-name', 'package.json', '-path', '*/node_modules/*'],
      { encoding: 'utf8', maxBuffer: 1 << 26 },
    );
    const folders = packed.split('\n').filter((file) => /\/node_modules\/(@[^/]+\/)?[^/@]+\/package\.json$/.test(file));
    assert.ok(folders.length > 100, `${folders.length} packages are packed`);
    for (const file of folders) {
      const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name: string; version: string };
      assert.ok(listed.includes(`${name}@${version}`), `${name}@${version} is packed and not listed`);
    }
    assert.deepEqual(new Set(listed), releasedPackages(ROOT));
    const manifest = readFileSync(path.join(ROOT, 'node_modules/mediasoup/package.json'), 'utf8');
    const mediasoup = JSON.parse(manifest) as { version: string };
    assert.deepEqual(
      components.filter(({ type }) => type === 'application').map(({ name, version }) => [name, version]),
      [
        ['node', process.versions.node],
        ['mediasoup-worker', mediasoup.version],
      ],
    );
  });
});
