import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { until } from '../../test/kit/until.ts';
import { createLog } from '../observe/log.ts';
import { nodeId } from '../protocol/ids.ts';
import { AloneNode } from './alone-node.ts';

const id = nodeId('alone');

function createNode() {
  const world = { rooms: 2, isAdmitting: true };
  const node = new AloneNode({
    nodeId: id,
    counts: () => ({ rooms: world.rooms, participants: 3 }),
    admit: (isAdmitting) => (world.isAdmitting = isAdmitting),
    about: () => ({ machine: 'm', address: '', region: '', zone: '', version: '1', load: null }),
    log: createLog({ level: 'silent', json: true }),
  });
  return { world, node };
}

const drain = { kind: 'drain', owner: 'ana', reason: 'update', policy: 'migrate', deadlineMs: null } as const;
const undrain = { kind: 'undrain', owner: 'ana', reason: '' } as const;
const waits = { policy: 'wait', deadline: 60, alone: true } as const;

describe('a node that is alone', () => {
  it('waits for its rooms when it is drained, takes no new ones, and can come back', async () => {
    const { world, node } = createNode();
    const report = await node.step(id, drain);
    assert.equal(report.state, 'DRAINING');
    assert.match(report.drain?.waitingFor.join() ?? '', /2 rooms to end: this node is alone/);
    assert.equal(world.isAdmitting, false);
    assert.equal((await node.step(id, undrain)).state, 'SERVING');
    assert.equal(world.isAdmitting, true);
    await node.step(id, drain);
    world.rooms = 0;
    await node.drained;
    assert.equal(node.state, 'DRAINED');
    await assert.rejects(node.step(id, undrain), { reason: 'already-drained' });
    await assert.rejects(node.get('ND_other'), { reason: 'unknown-node' });
  });

  it('waits after SIGTERM only where that was asked for, and not beyond the deadline', async () => {
    const { node } = createNode();
    assert.deepEqual(node.drainOption({ ...waits, alone: false }), {});
    let isOver = false;
    const end = node.drainOption({ ...waits, deadline: 0.5 }).drain?.();
    void end?.then(() => (isOver = true));
    await assert.rejects(node.step(id, undrain), { reason: 'node-is-ending' });
    assert.equal(isOver, false);
    await until(() => (isOver ? '' : 'it still waits'));
    assert.equal(node.state, 'DRAINING');
    node.close();
  });
});
