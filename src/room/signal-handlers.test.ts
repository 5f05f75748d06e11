import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Ping, UpdateVideoLayers } from '@livekit/protocol';
import { TestRoom } from './room-test-kit.ts';

describe('messages', () => {
  it('that the server has no use for change nothing and are not answered', () => {
    const room = new TestRoom();
    const alice = room.enter('alice');
    room.enter('bob');
    const before = room.room.snapshot();
    for (const message of [
      { case: 'updateLayers', value: new UpdateVideoLayers({ trackSid: 'TR_1' }) },
      { case: 'ping', value: 1n },
      { case: 'pingReq', value: new Ping() },
    ] as const) {
      room.signal(alice, message);
      assert.deepEqual(room.effects, [], message.case);
    }
    assert.deepEqual(room.room.snapshot(), before);
  });
});
