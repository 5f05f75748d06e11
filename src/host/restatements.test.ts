import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { wireSamples } from '../cluster/wire-fixtures.ts';
import type { NodeId, ParticipantSid } from '../protocol/ids.ts';
import type { LegToHost } from '../protocol/leg-messages.ts';
import { Restatements } from './restatements.ts';

const sample = wireSamples['leg-to-host']['restated'] as Extract<LegToHost, { kind: 'restated' }>;
const [one, two, dead] = ['ND_one', 'ND_two', 'ND_dead'] as [NodeId, NodeId, NodeId];
const restated = (leg: string): LegToHost => ({ ...sample, roomName: 'lobby', leg: leg as ParticipantSid });
const all: LegToHost = { kind: 'restatedAll', roomName: 'lobby' };
const said = (leg: string): LegToHost => ({ kind: 'closed', leg: leg as ParticipantSid });

function create(timeoutMs = 60_000) {
  const asked: string[] = [];
  const restatements = new Restatements({
    ask: (nodeId, roomName, epoch) => {
      asked.push(`${nodeId} ${roomName} ${epoch}`);
      return nodeId !== dead;
    },
    isDoubtful: (nodeId) => nodeId === two,
    timeoutMs,
  });
  return { asked, restatements };
}

describe('the legs of a room that a new host asks for', () => {
  it('are there when each node has answered, with what they said since', async () => {
    const { asked, restatements } = create();
    const collecting = restatements.collect('lobby', 7, [one, two, dead]);
    assert.deepEqual(asked, ['ND_one lobby 7', 'ND_two lobby 7', 'ND_dead lobby 7']);
    restatements.receive(restated('PA_b'), two);
    restatements.receive(all, two);
    restatements.receive(restated('PA_a'), one);
    assert.equal(restatements.receive(said('PA_a'), one), true);
    assert.equal(restatements.receive(said('PA_other'), one), false);
    restatements.receive(all, one);
    const { legs, isComplete, messages } = await collecting;
    assert.deepEqual(
      legs.map(({ nodeId, leg }) => `${leg.leg} ${nodeId}`),
      ['PA_b ND_two', 'PA_a ND_one'],
    );
    assert.equal(isComplete, true);
    assert.deepEqual(messages, [said('PA_a')]);
    assert.equal(restatements.receive(restated('PA_late'), one), false, 'nobody waits any more');
  });

  it('are not waited for where a node is in doubt, nor where there is no way to it any more', async () => {
    const { restatements } = create();
    const collecting = restatements.collect('lobby', 7, [one, two]);
    restatements.receive(restated('PA_a'), one);
    restatements.unlinked(one);
    const { legs, isComplete } = await collecting;
    assert.deepEqual(legs, []);
    assert.equal(isComplete, false, 'the other one may still come');
  });

  it('are not waited for for ever', async () => {
    const { restatements } = create(1);
    const { legs, isComplete } = await restatements.collect('lobby', 7, [one]);
    assert.deepEqual([legs, isComplete], [[], false]);
    assert.deepEqual(await restatements.collect('lobby', 7, [dead]), { legs: [], isComplete: true, messages: [] });
  });
});
