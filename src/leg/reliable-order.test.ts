import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ReliableOrder, type Arrival, type NumberedPacket } from './reliable-order.ts';

const packet = (sequence: number, size = 1): NumberedPacket => ({ sequence, bytes: new Uint8Array(size) });

const numbers = (packets: readonly NumberedPacket[]): number[] => packets.map(({ sequence }) => sequence);

const passed = (arrival: Arrival<NumberedPacket>): number[] | string =>
  arrival.kind === 'due' ? numbers(arrival.packets) : arrival.kind;

function at(last: number): ReliableOrder<NumberedPacket> {
  const order = new ReliableOrder<NumberedPacket>();
  order.continueAt(last, [], 0);
  return order;
}

describe('numbered packets of a publisher', () => {
  it('pass one by one from whatever number the first one has, and none passes twice', () => {
    const order = new ReliableOrder<NumberedPacket>();
    assert.deepEqual(
      [7, 8, 8, 7, 9].map((sequence) => passed(order.add(packet(sequence), 0))),
      [[7], [8], 'repeated', 'repeated', [9]],
    );
    assert.equal(order.last, 9);
  });

  it('wait for those that the client has held back and sends when its second resume is answered', () => {
    const order = at(9);
    order.resumed(0);
    order.away();
    assert.deepEqual(
      [13, 14].map((sequence) => passed(order.add(packet(sequence), 2000))),
      ['early', 'early'],
    );
    assert.deepEqual(order.overdue(10_000), []);
    assert.equal(order.last, 9, 'so that the client sends again from ten on');
    order.resumed(12_000);
    assert.deepEqual(order.overdue(20_000), []);
    assert.deepEqual(
      [10, 11, 12, 13, 14, 15].map((sequence) => passed(order.add(packet(sequence), 20_000))),
      [[10], [11], [12, 13, 14], 'repeated', 'repeated', [15]],
    );
  });

  it('do not wait for long for a number that an attached client has skipped', () => {
    const order = at(1);
    order.add(packet(3), 100);
    assert.deepEqual(order.overdue(1099), []);
    assert.deepEqual(numbers(order.overdue(1100)), [3]);
    assert.equal(order.last, 3);
    assert.equal(passed(order.add(packet(2), 1200)), 'repeated');
  });

  it('of a client without socket are passed on after half a minute', () => {
    const order = at(1);
    order.away();
    order.add(packet(4), 0);
    order.add(packet(3), 0);
    assert.deepEqual(order.overdue(29_999), []);
    assert.deepEqual(numbers(order.overdue(30_000)), [3, 4]);
  });

  it('do not wait when too much of them does', () => {
    const order = at(1);
    for (let sequence = 3; sequence <= 1002; sequence += 1)
      assert.equal(passed(order.add(packet(sequence), 0)), 'early');
    assert.equal(passed(order.add(packet(1003), 0)).length, 1001);
    assert.equal(order.last, 1003);
    const large = at(1);
    for (let sequence = 3; sequence <= 18; sequence += 1) large.add(packet(sequence, 65_536), 0);
    assert.deepEqual(
      passed(large.add(packet(19, 1), 0)),
      [...Array(17).keys()].map((index) => index + 3),
    );
  });

  it('that came early go to whoever goes on, which tells the client the same number', () => {
    const order = at(5);
    order.add(packet(8), 0);
    order.add(packet(7), 0);
    const next = new ReliableOrder<NumberedPacket>();
    next.continueAt(order.last, order.early(), 50);
    assert.deepEqual([next.last, passed(next.add(packet(6), 60))], [5, [6, 7, 8]]);
  });

  it('pass all, once and in order, however often and in whatever order they come while a wait lasts', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 60 }), (arrivals) => {
        const order = at(0);
        order.add(packet(1), 0);
        const all = [1];
        for (const sequence of arrivals) {
          const arrival = order.add(packet(sequence), 0);
          if (arrival.kind === 'due') all.push(...numbers(arrival.packets));
        }
        for (let sequence = order.last + 1; sequence <= 12; sequence += 1) {
          const arrival = order.add(packet(sequence), 0);
          if (arrival.kind === 'due') all.push(...numbers(arrival.packets));
        }
        assert.deepEqual(
          all,
          [...Array(12).keys()].map((index) => index + 1),
        );
      }),
    );
  });
});
