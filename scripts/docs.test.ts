/** The documents name what the code has, and all of it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { DisconnectReason, SignalRequest, SignalResponse } from '@livekit/protocol';
import { roomMethods } from '../src/api/room-methods.ts';
import { closeFrameOf, type SocketEnd } from '../src/gateway/close-codes.ts';
import { Metrics } from '../src/observe/metrics.ts';
import { httpRefusal, joinRefusal, tokenRefusal } from '../src/protocol/http-errors.ts';
import { webhookEventNames } from '../src/protocol/webhook-event.ts';
import { leaveRules, socketClose } from '../src/room/close-reason.ts';
import { ROOT } from './source-files.ts';

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const protocol = read('docs/protocol.md');

function assertNamed(names: Iterable<string>, document = protocol): void {
  const missing = [...names].filter((name) => !document.includes(`\`${name}\``));
  assert.deepEqual(missing, []);
}

describe('docs/protocol.md', () => {
  it('names every signal message', () => {
    for (const type of [SignalRequest, SignalResponse]) {
      assertNamed(type.fields.list().map((field) => field.name));
    }
  });

  it('names every method of RoomService and every webhook of rooms', () => {
    assertNamed(roomMethods.keys());
    // Recording and streaming in are services of their own, which are not there.
    assertNamed(webhookEventNames.filter((name) => !/^(egress|ingress)_/.test(name)));
  });

  it('has the text of every refusal', () => {
    const refusals = [...Object.values(tokenRefusal), ...Object.values(joinRefusal), ...Object.values(httpRefusal)];
    for (const refusal of refusals) {
      const { status, body } =
        typeof refusal === 'function' ? (refusal as (value: string) => typeof httpRefusal.notFound)('…') : refusal;
      assert.ok(protocol.includes(`\`${body}\``), `${status} ${body}`);
    }
  });

  it('has every close code with its reason, and every reason with which a session is ended', () => {
    const ends: Exclude<SocketEnd, 'host-closed'>[] = [
      'host-lost',
      'gateway-shutdown',
      'slow-client',
      'bad-message',
      'too-many-messages',
    ];
    const frames = [
      ...ends.map((end) => closeFrameOf(end)),
      socketClose.left,
      socketClose.replaced,
      socketClose.resume,
    ];
    for (const frame of [...frames, socketClose.malformed]) {
      const row = protocol.split('\n').find((line) => line.startsWith(`| ${frame?.code} |`)) ?? '';
      assert.ok(row.includes(`\`${frame?.reason}\``), JSON.stringify(frame));
    }
    for (const { reason, action } of Object.values(leaveRules)) {
      if (action !== undefined) {
        assert.match(protocol, new RegExp(`^\\| ${DisconnectReason[reason]} \\|`, 'm'));
      }
    }
  });
});

describe('docs/operations.md', () => {
  it('names every metric, and none that there is not', () => {
    const document = read('docs/operations.md');
    const metrics = new Metrics({ nodeId: 'ND_docs', nodeType: 'SERVER' });
    metrics.watchCalls(() => assert.fail('nobody scrapes'));
    metrics.watchNodes(
      () => assert.fail('nobody scrapes'),
      () => assert.fail('nobody scrapes'),
    );
    const names = metrics.registry.getMetricsAsArray().map(({ name }) => name);
    metrics.close();
    assertNamed(names, document);
    const mentioned = [...document.matchAll(/\b(?:livekit|plenum)_[a-z_]*[a-z]\b/g)].map(([name]) => name);
    assert.deepEqual(
      mentioned.filter((name) => !names.includes(name)),
      [],
    );
  });
});
