import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { portTable } from '../../../src/azure/port-table.ts';
import { configSchema } from '../../../src/config/options.ts';
import { TemplateFailure, textOf, type Json } from '../expand/functions.ts';
import { generatedFiles } from '../generated-files.ts';
import { buildTemplate } from '../template/template.ts';
import { inspectTemplate } from './inspect-template.ts';
import { expand, goldenScenarios, goldenText, matrix, parametersOf, testRelease } from './scenarios.ts';

const read = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8');
const production = parametersOf(goldenScenarios['production'] ?? '');

describe('the Azure template', () => {
  it('is committed as it is generated, with form and example', () => {
    for (const [name, content] of Object.entries(generatedFiles())) {
      assert.equal(read(`../${name}`), content, `${name} is old: run node deploy/azure/generate.ts`);
    }
  });

  it('expands for every combination of certificate, address, storage and TURN, and nothing is wrong with it', async () => {
    const template = buildTemplate(testRelease);
    const combinations = matrix();
    assert.equal(combinations.size, 48);
    for (const [name, parameters] of combinations) {
      assert.deepEqual(await inspectTemplate(template, parameters), [], name);
    }
  });

  it('spreads the masters over an availability set where a region has no zones', async () => {
    assert.deepEqual(await inspectTemplate(buildTemplate(testRelease), production, { zones: [] }), []);
    const masters = expand(production, { zones: [] }).resources.filter(({ type }) => type.endsWith('/virtualMachines'));
    assert.equal(masters.length, 4);
    assert.ok(masters.every(({ body }) => body['zones'] === undefined));
  });

  for (const [name, scenario] of Object.entries(goldenScenarios)) {
    it(`expands ${name} to the committed resources`, () => {
      const actual = goldenText(scenario);
      assert.equal(
        read(`golden/${name}.json`),
        actual,
        'run node deploy/azure/test/update-golden.ts and read the diff',
      );
    });
  }

  it('expands a recorded parameter file of OpenVidu 3.2.0', async () => {
    const file = JSON.parse(read('parameters-3.2.0.json')) as { parameters: Record<string, { value: Json }> };
    const parameters = Object.fromEntries(Object.entries(file.parameters).map(([name, { value }]) => [name, value]));
    assert.deepEqual(await inspectTemplate(buildTemplate(testRelease), parameters), []);
  });

  it('shares no name between two stacks of one resource group', () => {
    const names = (stackName: string): string[] =>
      expand({ ...production, stackName }).resources.map(({ id }) => id.toLowerCase());
    const other = new Set(names('second'));
    assert.deepEqual(
      names('calls').filter((id) => other.has(id)),
      [],
    );
  });

  it('gives media nodes no right but to read their own vault', () => {
    const { resources } = expand(production);
    const rights = resources.filter(({ body }) => JSON.stringify(body).includes('Media nodes'));
    assert.deepEqual(
      rights.map(({ body }) => textOf(body['scope']).split('/').at(-1)),
      ['calls-nodes'],
    );
  });

  it('has the ports of the configuration in the port table', () => {
    const { port, cluster, rtc } = configSchema.parse({});
    const has = (on: string, protocol: string, first: number, last = first): boolean =>
      portTable.some((row) => row.on === on && row.protocol === protocol && row.first === first && row.last === last);
    for (const on of ['masters', 'media']) {
      assert.ok(has(on, 'Tcp', port));
      assert.ok(has(on, 'Tcp', cluster.relay_port));
    }
    assert.ok(has('media', 'Udp', rtc.port_range_start, rtc.port_range_end));
    assert.ok(has('media', 'Tcp', rtc.port_range_start, rtc.port_range_end));
    assert.ok(has('media', 'Udp', rtc.pipe_port_range_start, rtc.pipe_port_range_end));
  });
});

describe('wrong parameters', () => {
  const cases: [string, Record<string, Json>, RegExp][] = [
    ['pion', { rtcEngine: 'pion' }, /pion is not available/],
    ['a minimum above the start', { minNumberOfMediaNodes: 3, initialNumberOfMediaNodes: 2 }, /minNumberOfMediaNodes/],
    ['a start above the maximum', { initialNumberOfMediaNodes: 9, maxNumberOfMediaNodes: 5 }, /maxNumberOfMediaNodes/],
    ['an ARM size', { mediaNodeInstanceType: 'Standard_D4pls_v5' }, /ARM processors/],
    ['owncert without a domain', { certificateType: 'owncert', domainName: '' }, /owncert needs a domain/],
    ['owncert without certificates', { certificateType: 'owncert' }, /owncert needs both/],
    ['no release', { releaseUrl: '' }, /releaseUrl/],
    ['a domain without e-mail', { letsEncryptEmail: '' }, /letsEncryptEmail/],
  ];
  for (const [what, changed, message] of cases) {
    it(`refuses ${what} with a message, before anything is made`, () => {
      assert.throws(
        () => expand({ ...production, ...changed }),
        (error: Error) => error.cause instanceof TemplateFailure && message.test(error.message),
      );
    });
  }

  it('names all problems at once', () => {
    const both = { rtcEngine: 'pion', masterNodeInstanceType: 'Standard_B4pls_v2' };
    assert.throws(() => expand({ ...production, ...both }), /pion.*; masterNodeInstanceType/);
  });

  it('takes processors with other letters in their name', () => {
    for (const size of [
      'Standard_B2s',
      'Standard_D4ads_v5',
      'Standard_F8s_v2',
      'Standard_HB120rs_v3',
      'Standard_NP10s',
    ]) {
      expand({ ...production, mediaNodeInstanceType: size });
    }
  });
});
