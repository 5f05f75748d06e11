/** The documents name what the code has, and all of it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { DisconnectReason, SignalRequest, SignalResponse } from '@livekit/protocol';
import { roomMethods } from '../src/api/room-methods.ts';
import { livekitOptionNames } from '../src/config/livekit-options.ts';
import { closeFrameOf, type SocketEnd } from '../src/gateway/close-codes.ts';
import { Metrics } from '../src/observe/metrics.ts';
import { httpRefusal, joinRefusal, tokenRefusal } from '../src/protocol/http-errors.ts';
import { webhookEventNames } from '../src/protocol/webhook-event.ts';
import { leaveRules, socketClose } from '../src/room/close-reason.ts';
import { complaintAbout, proofsIn, section, tableRows } from './proofs.ts';
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

  it('has a row for each signal message, in its direction, with a state and what proves it', () => {
    for (const [type, heading] of [
      [SignalRequest, '### From the client (`SignalRequest`)'],
      [SignalResponse, '### To the client (`SignalResponse`)'],
    ] as const) {
      const rows = tableRows(section(protocol, heading));
      assert.deepEqual(
        rows.map(([name = '']) => name).toSorted(),
        type.fields
          .list()
          .map((field) => `\`${field.name}\``)
          .toSorted(),
      );
      for (const row of rows) assertState(row, 1);
    }
  });

  it('has a row for each method that the server SDK can call, with a state and what proves it', () => {
    const own = tableRows(section(protocol, '### RoomService'));
    const others = tableRows(section(protocol, '### Other services'));
    const methodsOf = (service: string): string[] =>
      service === 'RoomService'
        ? own.map(([name = '']) => name.replaceAll('`', ''))
        : (others.find(([name]) => name === `\`${service}\``)?.[1] ?? '').replaceAll('`', '').split(', ');
    for (const [service, methods] of Object.entries(sdkMethods())) {
      const missing = methods.filter((method) => !methodsOf(service).includes(method));
      assert.deepEqual(missing, [], service);
    }
    assertNamed(roomMethods.keys());
    for (const row of own) assertState(row, 1);
    for (const row of others) assertState(row, 2);
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

/** What livekit-server-sdk calls, by service, read out of its own code. */
function sdkMethods(): Record<string, string[]> {
  const folder = join(ROOT, 'node_modules/livekit-server-sdk/dist');
  const services: Record<string, string[]> = {};
  for (const file of readdirSync(folder).filter((name) => name.endsWith('Client.js'))) {
    const text = readFileSync(join(folder, file), 'utf8');
    const service = /\bsvc = "(\w+)"/.exec(text)?.[1] ?? '';
    services[service] = [...text.matchAll(/request\(\s*svc,\s*"(\w+)"/g)].map(([, method = '']) => method);
  }
  assert.ok(
    Object.keys(services).length >= 6 && (services['RoomService']?.length ?? 0) > 10,
    'the SDK reads differently',
  );
  return services;
}

/** A row says that something works only when a test says so too. */
function assertState(row: string[], column: number): void {
  const state = row[column] ?? '';
  assert.ok(['yes', 'partly', 'untested', 'ignored', 'refused', 'no'].includes(state), row.join(' | '));
  assert.ok(
    ['no', 'untested'].includes(state) || proofsIn(row.at(-1) ?? '').length > 0,
    `nothing proves: ${row.join(' | ')}`,
  );
}

describe('tests that documents name', () => {
  for (const document of ['docs/protocol.md', 'docs/coming-from-livekit.md', 'docs/coming-from-openvidu.md']) {
    it(`exist: ${document}`, () => {
      const proofs = proofsIn(read(document));
      assert.ok(proofs.length > 10);
      assert.deepEqual(
        proofs.flatMap((proof) => complaintAbout(proof) ?? []),
        [],
      );
    });
  }

  it('are missed when their name or their file is wrong', () => {
    const [right] = proofsIn(
      '| a | yes | “names every metric, and none that there is not” in `scripts/docs.test.ts` |',
    );
    assert.ok(right !== undefined);
    assert.equal(complaintAbout(right), undefined);
    assert.match(complaintAbout({ ...right, name: 'names every metric' }) ?? '', /has no test/);
    assert.match(complaintAbout({ ...right, path: 'scripts/nowhere.test.ts' }) ?? '', /does not exist/);
  });

  it('stand in every row that says yes', () => {
    for (const document of ['docs/coming-from-livekit.md', 'docs/coming-from-openvidu.md']) {
      const rows = tableRows(section(read(document), '## Features'));
      assert.ok(rows.length > 15, document);
      for (const row of rows) {
        assertState(row, 1);
        assert.equal(row.length, 4, row.join(' | '));
      }
    }
  });
});

describe('docs/coming-from-livekit.md', () => {
  const document = read('docs/coming-from-livekit.md');

  it('says of each option of livekit-server that is not ours what became of it', () => {
    assertNamed(livekitOptionNames(), document);
  });

  it('names every metric that LiveKit has too', () => {
    const metrics = new Metrics({ nodeId: 'ND_docs', nodeType: 'SERVER' });
    metrics.watchCalls(() => assert.fail('nobody scrapes'));
    const names = metrics.registry.getMetricsAsArray().map(({ name }) => name);
    metrics.close();
    assertNamed(
      names.filter((name) => name.startsWith('livekit_')),
      document,
    );
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
