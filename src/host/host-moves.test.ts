import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'node:test';
import type { NodeId } from '../protocol/ids.ts';
import { HostMoves } from './host-moves.ts';

const [own, other] = ['ND_own', 'ND_other'] as [NodeId, NodeId];

function create() {
  const asked: string[] = [];
  const answers: ((isMoved: boolean) => void)[] = [];
  const state = { nowMs: 1_000, rooms: ['lobby', 'hall'] };
  const moves = new HostMoves({
    nodeId: own,
    rooms: () => state.rooms,
    legNodes: (roomName) => new Map(roomName === 'hall' ? [[other, 1]] : [[own, 2]]),
    move: (roomName, target) => {
      asked.push(`${roomName} ${target}`);
      return new Promise((resolve) => answers.push(resolve));
    },
    now: () => state.nowMs,
  });
  const of = (roomName: string) => moves.on(own).find((room) => room.roomName === roomName)?.hostMove;
  return { moves, asked, answers, state, of };
}

describe('hosts on their way', () => {
  it('are moved once, however often that is asked for', async () => {
    const { moves, asked, answers, state, of } = create();
    moves.perform({ kind: 'moveHost', roomName: 'lobby', target: other });
    moves.perform({ kind: 'moveHost', roomName: 'lobby', target: other });
    state.nowMs += 30;
    assert.deepEqual(of('lobby'), { kind: 'moving', target: other, ageMs: 30 });
    assert.deepEqual(asked, ['lobby ND_other']);
    state.rooms = ['hall'];
    answers[0]?.(true);
    await turn();
    assert.equal(of('lobby'), undefined);
    assert.throws(() => moves.perform({ kind: 'abortHostMove', roomName: 'lobby', why: 'timeout' }), {
      reason: 'room-not-hosted',
    });
  });

  it('stay after a failure, and wait before another try', async () => {
    const { moves, answers, state, of } = create();
    moves.perform({ kind: 'moveHost', roomName: 'lobby', target: other });
    answers[0]?.(false);
    await turn();
    assert.deepEqual(of('lobby'), { kind: 'staying', failures: 1, retryInMs: 500 });
    state.nowMs += 600;
    assert.deepEqual(of('lobby'), { kind: 'staying', failures: 1, retryInMs: 0 });
    moves.perform({ kind: 'moveHost', roomName: 'lobby', target: other });
    moves.perform({ kind: 'abortHostMove', roomName: 'lobby', why: 'timeout' });
    assert.equal(of('lobby')?.kind, 'staying');
  });

  it('are told for this node, and for nodes with legs of their rooms', () => {
    const { moves } = create();
    assert.deepEqual(
      moves.on(own).map(({ roomName }) => roomName),
      ['lobby', 'hall'],
    );
    assert.deepEqual(
      moves.on(other).map(({ roomName, hostNodeId }) => `${roomName} ${hostNodeId}`),
      ['hall ND_own'],
    );
  });
});
