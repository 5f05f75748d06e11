import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LogRecord } from './log-record.ts';

it('tells unexpected errors from expected ones', () => {
  const record = new LogRecord();
  const log = record.logger();
  log.info('fine');
  log.error({ worker: 3 }, 'worker died');
  log.error('something else');
  record.expectErrors(/worker died/);
  assert.deepEqual(
    record.unexpectedErrors().map(({ msg }) => msg),
    ['something else'],
  );
});

it('keeps lines that are no JSON, also when they come in pieces', () => {
  const record = new LogRecord();
  record.write('Plenum is re');
  record.write('ady.\n\n{"level":30,"msg":"up"}\n');
  assert.deepEqual(
    record.lines.map(({ level, msg }) => [level, msg]),
    [
      [0, 'Plenum is ready.'],
      [30, 'up'],
    ],
  );
});
