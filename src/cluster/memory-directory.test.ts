import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { NodeId } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';
import type { Link } from './link.ts';
import { MemoryDirectory } from './memory-directory.ts';

const nodeId = 'ND_one' as NodeId;

function createDirectory() {
  const clock = { nowMs: 0 };
  return { clock, directory: new MemoryDirectory({ nodeId, now: () => clock.nowMs }) };
}

describe('MemoryDirectory', () => {
  it('places a room once, and locates only rooms that exist', async () => {
    const { directory } = createDirectory();
    assert.equal(await directory.locate('lobby'), undefined);
    assert.deepEqual(await directory.place('lobby'), { roomName: 'lobby', nodeId });
    assert.deepEqual(await directory.place('lobby'), { roomName: 'lobby', nodeId });
    assert.deepEqual(await directory.locate('lobby'), { roomName: 'lobby', nodeId });
    assert.equal(directory.size, 1);
  });

  it('lists what hosts stated, by name when asked', async () => {
    const { directory } = createDirectory();
    await directory.place('placed only');
    directory.publish('a', Uint8Array.of(1));
    directory.publish('b', Uint8Array.of(2));
    directory.publish('b', Uint8Array.of(3));
    assert.deepEqual(await directory.list([]), [Uint8Array.of(1), Uint8Array.of(3)]);
    assert.deepEqual(await directory.list(['b', 'b', 'c']), [Uint8Array.of(3)]);
    directory.release('b');
    assert.deepEqual(await directory.list(['b']), []);
    assert.equal(await directory.locate('b'), undefined);
  });

  it('forgets a placed room whose first join never came', async () => {
    const { directory, clock } = createDirectory();
    await directory.place('lost');
    directory.publish('kept', Uint8Array.of(1));
    clock.nowMs = 20_000;
    assert.equal(await directory.locate('lost'), undefined);
    assert.notEqual(await directory.locate('kept'), undefined);
    assert.equal(directory.size, 1);
  });

  it('places nothing new once it stops admitting', async () => {
    const { directory } = createDirectory();
    await directory.place('old');
    directory.admit(false);
    await directory.place('old');
    await assert.rejects(directory.place('new'), { reason: 'no-capacity', code: 'unavailable' });
  });

  it('connects gateways to its own host, and to no other', () => {
    const { directory } = createDirectory();
    const accepted: Link<HostToGateway, GatewayToHost>[] = [];
    directory.attachHost((link) => accepted.push(link));
    directory.connect(nodeId);
    assert.equal(accepted.length, 1);
    let reason = '';
    directory.connect('ND_other' as NodeId).onClose((why) => {
      reason = why;
    });
    assert.equal(reason, 'closed');
    assert.equal(accepted.length, 1);
  });
});
