import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataReserve, type ReservedPacket } from './data-reserve.ts';

function packet(senderSid: string, order: number, sequence = order): ReservedPacket {
  return { bytes: Uint8Array.of(order), senderSid, sequence, order };
}

function create(changes: Partial<ConstructorParameters<typeof DataReserve>[0]> = {}) {
  const clock = { nowMs: 10_000 };
  const reserve = new DataReserve({
    maxBytes: 100,
    maxAgeMs: 5000,
    dropsRepeats: true,
    now: () => clock.nowMs,
    ...changes,
  });
  return { reserve, clock };
}

const orders = (packets: ReservedPacket[]): number[] => packets.map(({ order }) => order);

describe('data of a leg that waits to take over', () => {
  it('is what the old leg did not deliver, in order', () => {
    const { reserve, clock } = create();
    for (const order of [1, 2, 3, 4]) reserve.add(packet('a', order));
    reserve.add(packet('b', 1));
    clock.nowMs += 3500;
    const taken = reserve.takeAfter([{ senderSid: 'a', order: 2 }], new Map());
    assert.deepEqual(
      taken.map(({ senderSid, order }) => `${senderSid}${order}`),
      ['a3', 'a4', 'b1'],
    );
    assert.equal(reserve.bytes, 0);
  });

  it('holds numbered packets of the last moments again, which clients drop if they have them', () => {
    const { reserve, clock } = create();
    reserve.add(packet('a', 1));
    clock.nowMs += 3500;
    reserve.add(packet('a', 2));
    reserve.add(packet('a', 3, 0));
    reserve.add(packet('a', 4));
    assert.deepEqual(orders(reserve.takeAfter([{ senderSid: 'a', order: 4 }], new Map())), [2, 4]);
  });

  it('does not do so for clients that would hand them over again', () => {
    const { reserve } = create({ dropsRepeats: false });
    for (const order of [1, 2, 3]) reserve.add(packet('a', order));
    assert.deepEqual(orders(reserve.takeAfter([{ senderSid: 'a', order: 2 }], new Map())), [3]);
  });

  it('follows what the client says that it has seen', () => {
    const { reserve } = create();
    for (const order of [1, 2, 3]) reserve.add(packet('a', order, order + 100));
    reserve.add(packet('a', 4, 0));
    const delivered = [{ senderSid: 'a', order: 3 }];
    assert.deepEqual(orders(reserve.takeAfter(delivered, new Map([['a', 101]]))), [2, 3, 4]);
  });

  it('has the packets of the server from the cut on', () => {
    const { reserve } = create();
    reserve.add(packet('', 0));
    reserve.add(packet('a', 1));
    reserve.cut();
    reserve.add({ ...packet('', 0), bytes: Uint8Array.of(9) });
    const taken = reserve.takeAfter([], new Map());
    assert.deepEqual(
      taken.map(({ senderSid, bytes }) => [senderSid, bytes[0]]),
      [
        ['a', 1],
        ['', 9],
      ],
    );
  });

  it('is told by a leg that holds packets back up to which it has delivered', () => {
    const { reserve } = create();
    reserve.add(packet('a', 3, 0));
    reserve.add(packet('a', 4, 0));
    reserve.add(packet('', 0));
    const had = [
      { senderSid: 'a', order: 4 },
      { senderSid: 'b', order: 7 },
    ];
    assert.deepEqual(reserve.without(had), [
      { senderSid: 'a', order: 2 },
      { senderSid: 'b', order: 7 },
    ]);
  });

  it('forgets what is too old, and refuses what is too much', () => {
    const { reserve, clock } = create({ maxBytes: 2 });
    assert.ok(reserve.add(packet('a', 1)) && reserve.add(packet('a', 2)));
    assert.equal(reserve.add(packet('a', 3)), false);
    clock.nowMs += 5001;
    assert.ok(reserve.add(packet('a', 4)));
    assert.deepEqual(orders(reserve.takeAll()), [4]);
  });
});
