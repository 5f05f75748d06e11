import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PeerPacket } from '../protocol/leg-peer-messages.ts';
import { OutgoingData } from './outgoing-data.ts';

function packet(sizeBytes: number, reliable = true): PeerPacket {
  const about = { roomName: 'room', senderSid: 'PA_a', sequence: 0, order: 0, destinations: [], metrics: false };
  return { ...about, reliable, packet: new Uint8Array(sizeBytes) };
}

describe('data for another node', () => {
  it('numbers reliable packets and keeps them until they have arrived', () => {
    const data = new OutgoingData(100);
    const numbers = [1, 2, 3].map(() => data.add(packet(10))?.number);
    assert.deepEqual(numbers, [1, 2, 3]);
    data.arrived(2);
    assert.deepEqual(
      data.kept().map(({ number }) => number),
      [3],
    );
    assert.equal(data.keptBytes, 10);
    data.arrived(3);
    assert.equal(data.keptBytes, 0);
  });

  it('does not keep lossy ones', () => {
    const data = new OutgoingData(100);
    assert.equal(data.add(packet(1000, false))?.number, 0);
    assert.deepEqual(data.kept(), []);
  });

  it('has no room past its bound until something has arrived', () => {
    const data = new OutgoingData(100);
    assert.ok(data.add(packet(60)));
    assert.equal(data.add(packet(41)), undefined);
    assert.equal(data.add(packet(40))?.number, 2);
    data.arrived(1);
    assert.equal(data.add(packet(60))?.number, 3);
  });

  it('starts anew for a node that lost its memory', () => {
    const data = new OutgoingData(100);
    data.add(packet(10));
    data.add(packet(10));
    assert.equal(data.restart(), 2);
    assert.equal(data.add(packet(100))?.number, 1);
  });
});
