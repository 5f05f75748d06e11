import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { legId, type ConnectionId, type LegId, type NodeId, type ParticipantSid } from '../protocol/ids.ts';
import { LegHomes } from './leg-homes.ts';

const alice = 'PA_alice' as ParticipantSid;
const next = legId(alice, 2);
const snapshot = {} as never;

function create() {
  const told: string[] = [];
  const homes = new Map<LegId, NodeId>();
  const legHomes = new LegHomes({
    homeOf: (leg) => homes.get(leg),
    tell: (connectionId, nodeId) => void told.push(`${connectionId} ${nodeId}`),
  });
  return { told, homes, legHomes };
}

describe('homes of legs, as gateways are told of them', () => {
  it('are told once there is a socket, and again for the next one', () => {
    const { told, homes, legHomes } = create();
    homes.set(alice, 'old' as NodeId);
    legHomes.placed(alice);
    legHomes.bind(alice, 'first' as ConnectionId);
    legHomes.bind(alice, 'second' as ConnectionId);
    assert.deepEqual(told, ['first old', 'second old']);
  });

  it('stay while another leg is made ready, and change when that one takes over', () => {
    const { told, homes, legHomes } = create();
    homes.set(alice, 'old' as NodeId);
    legHomes.bind(alice, 'socket' as ConnectionId);
    homes.set(next, 'new' as NodeId);
    legHomes.placed(next);
    assert.deepEqual(told, ['socket old']);
    legHomes.follow({ kind: 'activate', leg: next, how: 'in-place', snapshot, data: snapshot });
    assert.deepEqual(told, ['socket old', 'socket new']);
    legHomes.follow({ kind: 'close', leg: alice, reason: 'moved' });
    legHomes.bind(alice, 'resumed' as ConnectionId);
    assert.equal(told.at(-1), 'resumed new');
  });

  it('are forgotten with the leg that carries the participant', () => {
    const { told, homes, legHomes } = create();
    homes.set(next, 'new' as NodeId);
    legHomes.bind(alice, 'socket' as ConnectionId);
    legHomes.carries(next);
    legHomes.follow({ kind: 'close', leg: next, reason: 'left' });
    legHomes.carries(alice);
    assert.deepEqual(told, ['socket new']);
  });
});
