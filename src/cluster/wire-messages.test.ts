import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drainReply, drainRequest } from './drain-channel.ts';
import { legPeerReply, legPeerRequest } from './leg-peer-channel.ts';
import { decodeMessage, encodeMessage } from './wire-codec.ts';
import { fromJson, toFixture, wireSamples, type FixtureDirection, type WireFixture } from './wire-fixtures.ts';
import { gatewayToHost, hostToGateway, hostToLeg, legToHost } from './wire-messages.ts';
import type { MessageTable } from './wire-table.ts';

const folder = fileURLToPath(new URL('../../test/fixtures/wire/', import.meta.url));
const tables: Record<FixtureDirection, MessageTable<{ kind: string }>> = {
  'gateway-to-host': gatewayToHost,
  'host-to-gateway': hostToGateway,
  'host-to-leg': hostToLeg,
  'leg-to-host': legToHost,
  'leg-peer-request': legPeerRequest,
  'leg-peer-reply': legPeerReply,
  'drain-request': drainRequest,
  'drain-reply': drainReply,
};
const directions = Object.keys(tables) as FixtureDirection[];

function readFixture(path: string): WireFixture {
  return JSON.parse(readFileSync(`${folder}${path}`, 'utf8')) as WireFixture;
}

function fixturesOf(direction: FixtureDirection): string[] {
  return globSync(`*/${direction}/*.json`, { cwd: folder }).toSorted();
}

/** Added to a kind that older versions send without them. */
const optionalFields = new Set([
  'accepted.participantSid',
  'roomLost.nodeId',
  'answer.midToTrackId',
  'resume.mediaLost',
]);

/** Each way to take something away from a message, at any depth, except list items and entries of maps. */
function* mutilated(message: Record<string, unknown>): Generator<[string, unknown]> {
  for (const key of Object.keys(message)) {
    if (key !== 'kind') {
      const { [key]: _gone, ...rest } = message;
      if (!optionalFields.has(`${String(message['kind'])}.${key}`)) yield [`without ${key}`, rest];
      yield [`with another ${key}`, { ...message, [key]: [{ not: 'this' }] }];
    }
  }
}

describe('wire messages', () => {
  for (const direction of directions) {
    it(`reads every ${direction} message that any version wrote`, () => {
      const paths = fixturesOf(direction);
      assert.ok(paths.length > 0);
      for (const path of paths) {
        const fixture = readFixture(path);
        const message = decodeMessage(Uint8Array.from(Buffer.from(fixture.hex, 'hex')));
        assert.deepEqual(toFixture(message).message, fixture.message, path);
        assert.deepEqual(tables[direction].read(message), message, path);
      }
    });

    it(`keeps unknown fields of ${direction} messages through a decode and an encode`, () => {
      for (const path of fixturesOf(direction)) {
        const message = fromJson(readFixture(path).message) as Record<string, unknown>;
        const newer = { ...message, newer: { list: [1, 'two', Uint8Array.of(3)] } };
        const passedOn = decodeMessage(encodeMessage(tables[direction].read(decodeMessage(encodeMessage(newer)))));
        assert.deepEqual(passedOn, newer, path);
      }
    });

    it(`has a fixture of each ${direction} message as it is written now`, () => {
      assert.deepEqual(Object.keys(wireSamples[direction]).toSorted(), tables[direction].kinds.toSorted());
      for (const [kind, sample] of Object.entries(wireSamples[direction])) {
        assert.deepEqual(
          readFixture(`unreleased/${direction}/${kind}.json`),
          toFixture(sample),
          'run: node test/fixtures/wire/update.ts',
        );
      }
    });

    it(`refuses ${direction} messages that lack a field, or have one of another type`, () => {
      for (const sample of Object.values(wireSamples[direction])) {
        for (const [how, message] of mutilated(sample)) {
          assert.throws(
            () => tables[direction].read(message),
            { reason: 'relay-bad-message' },
            `${sample.kind} ${how}`,
          );
        }
      }
    });
  }

  it('looks into nested parts too', () => {
    const { join } = wireSamples['gateway-to-host'] as { join: { kind: string; join: Record<string, unknown> } };
    const withJoin = (changes: Record<string, unknown>): unknown => ({ ...join, join: { ...join.join, ...changes } });
    for (const changes of [
      { attributes: { a: 1 } },
      { grants: {} },
      { kindDetails: ['x'] },
      { client: undefined },
      { resume: { reason: 1 } },
    ]) {
      assert.throws(
        () => gatewayToHost.read(withJoin(changes)),
        { reason: 'relay-bad-message' },
        JSON.stringify(changes),
      );
    }
    assert.ok(gatewayToHost.read(withJoin({ resume: undefined, roomConfiguration: undefined })));
  });

  it('does not know kinds that are names of an object', () => {
    for (const kind of ['constructor', 'toString', '__proto__', 'newer']) {
      assert.equal(gatewayToHost.read({ kind }), undefined);
    }
  });
});
