/** The scenarios in small: they still work, lose nothing and leave nothing; and the worker does not do more for a packet. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { startNodeProcess } from '../test/kit/node.ts';
import { devKey } from '../test/kit/tokens.ts';
import { countInstructions, hasValgrind, type InstructionCount } from './instructions.ts';
import type { Row, ScenarioResult } from './results.ts';
import { runScenario } from './run-scenario.ts';
import { allScenarios } from './scenarios/all-scenarios.ts';
import { formatResult } from './table.ts';
import type { ExternalServer } from './target.ts';

const scale = 0.08;
/** Of the stored count. */
const tolerance = 1.2;

type RunWishes = { share?: number; external?: ExternalServer };

async function run(t: TestContext, name: string, { share = scale, external }: RunWishes = {}): Promise<ScenarioResult> {
  const scenario = allScenarios.find((candidate) => candidate.name === name);
  assert.ok(scenario);
  const result = await runScenario(scenario, {
    external,
    pinned: false,
    scale: share,
    windows: scale,
    progress: () => {},
  });
  // CPU figures of so short a run on a shared machine are to be read, not to be judged.
  t.diagnostic(`\n${formatResult(result)}`);
  return result;
}

function figure(row: Row, name: string): number {
  const value = row.figures[name];
  assert.ok(
    value !== undefined && !Number.isNaN(value),
    `${row.series} has no ${name}: ${JSON.stringify(row.figures)}`,
  );
  return value;
}

function assertMediaArrives(result: ScenarioResult): void {
  assert.ok(result.rows.length > 0);
  for (const row of result.rows) {
    assert.ok(figure(row, 'packets/s') > 0, row.series);
    assert.ok(figure(row, 'loss %') < 1, `${row.series}: ${figure(row, 'loss %')} % lost`);
    assert.ok(figure(row, 'CPU µs/packet') > 0, row.series);
  }
}

describe('benchmark in small', () => {
  for (const name of ['webinar', 'meeting']) {
    it(`${name}: media reaches everybody`, async (t) => {
      const result = await run(t, name);
      assertMediaArrives(result);
      for (const row of result.rows) {
        assert.equal(figure(row, 'silent streams'), 0, row.series);
      }
    });
  }

  it('webinar: also of a server that it did not start', async (t) => {
    const node = await startNodeProcess({ logLevel: 'warn' });
    try {
      const result = await run(t, 'webinar', { external: { url: node.url, key: devKey, pids: [node.pid] } });
      assertMediaArrives(result);
      assert.deepEqual(
        result.rows.map(({ series }) => series),
        ['one layer', 'three layers'],
      );
    } finally {
      await node.close();
    }
  });

  it('audio-room: forwarding only the loudest sends less', async (t) => {
    const result = await run(t, 'audio-room', { share: 0.6 });
    assertMediaArrives(result);
    const [all, loudest] = result.rows;
    assert.ok(all !== undefined && loudest !== undefined);
    assert.ok(figure(loudest, 'packets/s') < figure(all, 'packets/s') * 0.7, 'all microphones are forwarded');
  });

  it('data: every reliable message arrives', async (t) => {
    const result = await run(t, 'data');
    for (const row of result.rows) {
      const percent = figure(row, 'of expected %');
      assert.ok(percent > 80 && percent < 120, `${row.series}: ${percent} % of the messages`);
    }
  });

  it('join-storm: everybody gets in and sees', async (t) => {
    const result = await run(t, 'join-storm');
    assert.ok(result.rows.some((row) => row.series.startsWith('step 4')));
  });

  it('signalling: changes reach the others', async (t) => {
    const [row] = (await run(t, 'signalling')).rows;
    assert.ok(row !== undefined && figure(row, 'mutes seen %') > 90, JSON.stringify(row));
  });

  it('small-rooms: nothing is left of rooms that ended', async (t) => {
    const result = await run(t, 'small-rooms', { share: 0.12 });
    const lives = result.rows.find((row) => row.series.endsWith('lives'));
    assert.ok(lives !== undefined);
    assert.ok(
      result.notes.some((note) => note.endsWith('last life: 0.')),
      result.notes.join('\n'),
    );
    // A transport of the worker has a hundred.
    assert.ok(figure(lives, 'worker KB/life') < 40, JSON.stringify(lives.figures));
  });
});

describe('instructions of the media worker', { skip: hasValgrind() ? false : 'valgrind is not installed' }, () => {
  const stored = JSON.parse(readFileSync(path.join(import.meta.dirname, 'instructions.json'), 'utf8')) as Record<
    'single' | 'simulcast',
    InstructionCount
  >;

  for (const kind of ['single', 'simulcast'] as const) {
    it(`for ${kind === 'single' ? 'a packet of one layer' : 'a packet of three layers'} have not become many more`, async (t) => {
      const counted = await countInstructions(kind === 'single' ? 'lowest' : 'all');
      for (const what of ['perPacket', 'perJoin'] as const) {
        const share = counted[what] / stored[kind][what];
        t.diagnostic(
          `${kind}, ${what}: ${Math.round(counted[what])}, ${(share * 100).toFixed(1)} % of the stored count`,
        );
        assert.ok(share < tolerance, `${what} is ${Math.round(counted[what])}, stored is ${stored[kind][what]}`);
      }
    });
  }
});
