import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, mock } from 'node:test';
import fc from 'fast-check';
import { LogRecord } from '../../test/kit/log-record.ts';
import { loadConfig } from '../config/load.ts';
import { nodeId } from '../protocol/ids.ts';
import { relayOptions } from './relay-config.ts';
import { EpochGuard } from './relay-epoch.ts';
import { Fifo } from './relay-fifo.ts';
import {
  beatFrame,
  bodyFrame,
  closeFrame,
  creditFrame,
  dataHead,
  FrameReader,
  openFrame,
  type Frame,
} from './relay-frame.ts';
import { Heartbeat } from './relay-heartbeat.ts';
import { judgeHello, type Hello } from './relay-hello.ts';
import { LimitedLog } from './relay-log.ts';
import { identity } from './relay-test-kit.ts';

function readAll(chunks: Buffer[]): Frame[] {
  const reader = new FrameReader();
  return chunks.flatMap((chunk) => [...reader.push(chunk)]);
}

describe('frames', () => {
  const chunk = Buffer.from('chunk');
  const stream = Buffer.concat([
    bodyFrame('hello', Buffer.from('hi')),
    beatFrame('ping', 4_294_967_295),
    openFrame(1, Buffer.from('open')),
    dataHead({ channelId: 2, first: true, last: false, epoch: 2 ** 53 - 1, chunkBytes: chunk.length }),
    chunk,
    dataHead({ channelId: 2, first: false, last: true, epoch: 5, chunkBytes: 0 }),
    creditFrame(3, 70_000),
    closeFrame(4, 'overflow'),
  ]);
  const frames: Frame[] = [
    { type: 'hello', body: Buffer.from('hi') },
    { type: 'ping', sequence: 4_294_967_295 },
    { type: 'open', channelId: 1, body: Buffer.from('open') },
    { type: 'data', channelId: 2, first: true, last: false, epoch: 2 ** 53 - 1, chunk },
    { type: 'data', channelId: 2, first: false, last: true, epoch: undefined, chunk: Buffer.alloc(0) },
    { type: 'credit', channelId: 3, bytes: 70_000 },
    { type: 'close', channelId: 4, reason: 'overflow' },
  ];

  it('come out the same however the network cuts them', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 30 }), (cuts) => {
        const edges = [0, ...cuts.toSorted((a, b) => a - b), stream.length];
        const chunks = edges.slice(1).map((end, index) => stream.subarray(edges[index], end));
        assert.deepEqual(readAll(chunks), frames);
      }),
    );
  });

  it('are refused, and never anything else, when they are random', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          readAll([Buffer.from(bytes)]);
        } catch (error) {
          assert.equal((error as { reason?: string }).reason, 'relay-bad-frame');
        }
      }),
    );
  });
});

describe('EpochGuard', () => {
  it('lets the highest epoch of a record speak, and no lower one', () => {
    const guard = new EpochGuard();
    const verdicts = [5, 5, 4, 7, 5, 7].map((epoch) => guard.admit('room', epoch));
    assert.deepEqual(verdicts, [true, true, false, true, false, true]);
    assert.equal(guard.current('room'), 7);
    assert.equal(guard.admit('other', 1), true);
    assert.equal(guard.admit('room', undefined), true);
    assert.equal(guard.size, 2);
  });

  it('starts anew with a record that was forgotten', () => {
    const guard = new EpochGuard();
    guard.admit('room', 9);
    guard.forget('room');
    assert.equal(guard.admit('room', 1), true);
  });
});

describe('Fifo', () => {
  it('gives back what it was given, in order', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 5_000 }), (pushes) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        pushes.forEach((push, index) => {
          if (push) {
            fifo.push(index);
            model.push(index);
          } else {
            assert.equal(fifo.peek(), model[0]);
            assert.equal(fifo.shift(), model.shift());
          }
          assert.equal(fifo.length, model.length);
        });
      }),
      { numRuns: 20 },
    );
  });

  it('stays in order when far more goes through it than waits in it', () => {
    const fifo = new Fifo<number>();
    for (let index = 0; index < 10_000; index += 1) {
      fifo.push(index);
      if (index >= 100) {
        assert.equal(fifo.shift(), index - 100);
      }
    }
    assert.equal(fifo.length, 100);
  });
});

describe('Heartbeat', () => {
  it('takes so many intervals without a sign for death, and counts anew after each sign', () => {
    mock.timers.enable({ apis: ['setInterval'] });
    try {
      let beats = 0;
      let silences = 0;
      const heartbeat = new Heartbeat({
        intervalMs: 500,
        misses: 4,
        beat: () => (beats += 1),
        silent: () => (silences += 1),
      });
      heartbeat.start();
      assert.equal(beats, 1);
      mock.timers.tick(1_500);
      heartbeat.heard();
      mock.timers.tick(1_500);
      assert.deepEqual([beats, silences], [7, 0]);
      mock.timers.tick(500);
      assert.deepEqual([beats, silences], [7, 1]);
      mock.timers.tick(5_000);
      assert.equal(silences, 1);
    } finally {
      mock.timers.reset();
    }
  });
});

describe('LimitedLog', () => {
  it('says the same once in ten seconds, with how often it was so', () => {
    const record = new LogRecord();
    let nowMs = 0;
    const log = new LimitedLog(record.logger(), () => nowMs);
    for (nowMs = 0; nowMs <= 12_000; nowMs += 1_000) {
      log.say('warn', 'a', { message: 'it happened', nowMs });
    }
    log.say('warn', 'b', { message: 'something else' });
    assert.deepEqual(
      record.lines.map(({ reason, nowMs: atMs, suppressed }) => [reason, atMs, suppressed]),
      [
        ['a', 0, 0],
        ['a', 10_000, 9],
        ['b', undefined, 0],
      ],
    );
  });
});

describe('judgeHello', () => {
  const hello: Hello = {
    minProtocol: 1,
    maxProtocol: 1,
    cluster: 'c',
    nodeId: 'ND_far',
    role: 'media',
    software: '1',
    features: [],
    windowBytes: 1,
    maxMessageBytes: 1,
  };
  const expected = { self: identity('near'), cluster: 'c', nodeId: undefined };
  const reasonOf = (verdict: ReturnType<typeof judgeHello>): string => (verdict.ok ? 'ok' : verdict.reason);

  it('speaks the newest version that both know', () => {
    const verdict = judgeHello({ ...hello, maxProtocol: 5 }, expected);
    assert.ok(verdict.ok);
    assert.equal(verdict.facts.protocol, 1);
  });

  it('refuses who cannot work with us, or is not who is meant', () => {
    assert.equal(reasonOf(judgeHello({ ...hello, minProtocol: 2, maxProtocol: 3 }, expected)), 'no-common-protocol');
    assert.equal(reasonOf(judgeHello({ ...hello, cluster: 'd' }, expected)), 'wrong-cluster');
    assert.equal(reasonOf(judgeHello({ ...hello, expectedNodeId: 'ND_old' }, expected)), 'wrong-node');
    assert.equal(reasonOf(judgeHello({ ...hello, expectedNodeId: 'ND_near' }, expected)), 'ok');
    assert.equal(reasonOf(judgeHello(hello, { ...expected, nodeId: nodeId('old') })), 'wrong-node');
  });
});

describe('relayOptions', () => {
  const clusterOf = (
    cluster: Record<string, unknown>,
    env: Record<string, string> = {},
  ): ReturnType<typeof loadConfig>['cluster'] => loadConfig({ env, overrides: { keys: { a: 'b' }, cluster } }).cluster;

  it('takes the secret from the options, the environment or a file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'plenum-relay-'));
    try {
      const file = join(folder, 'secret');
      writeFileSync(file, 'from the file, with a newline\n');
      assert.equal(relayOptions(clusterOf({ secret_file: file })).secret, 'from the file, with a newline');
      assert.equal(relayOptions(clusterOf({ secret: 'from the options' })).secret, 'from the options');
      assert.equal(
        relayOptions(clusterOf({}, { PLENUM_CLUSTER_SECRET: 'from the environment' })).secret,
        'from the environment',
      );
      writeFileSync(file, 'the secret of this year\nthe secret of last year\n\n');
      const rotating = relayOptions(clusterOf({ secret_file: file }));
      assert.deepEqual(
        [rotating.secret, rotating.previousSecrets],
        ['the secret of this year', ['the secret of last year']],
      );
      const previous = clusterOf(
        { secret: 'the secret of this year' },
        { PLENUM_CLUSTER_PREVIOUS_SECRETS: 'the secret of last year, the one before it' },
      );
      assert.deepEqual(relayOptions(previous).previousSecrets, ['the secret of last year', 'the one before it']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('refuses to run without a secret that deserves the name', () => {
    assert.throws(() => relayOptions(clusterOf({})), { reason: 'bad-config', message: /16 characters/ });
    assert.throws(() => relayOptions(clusterOf({ secret: 'short' })), { reason: 'bad-config' });
    assert.throws(() => relayOptions(clusterOf({ secret_file: '/nonexistent/secret' })), {
      reason: 'bad-config',
      message: /cannot be read/,
    });
  });

  it('counts heartbeats in milliseconds', () => {
    const { settings, port } = relayOptions(clusterOf({ secret: 'a secret of the tests' }));
    assert.deepEqual([settings, port], [{ heartbeatIntervalMs: 500, heartbeatMisses: 4 }, 7890]);
  });
});
