import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { UdpRelay, type PathOptions } from './udp-relay.ts';
import { until } from './until.ts';

/** Sends numbered packets to an echoing target through a relay and collects what comes back. */
async function run(options: {
  up?: PathOptions;
  down?: PathOptions;
  seed?: number;
  count: number;
  sizeBytes?: number;
}): Promise<{ numbers: number[]; agesMs: number[] }> {
  const target = createSocket('udp4', (packet, from) => target.send(packet, from.port, from.address));
  target.bind(0, '127.0.0.1');
  await once(target, 'listening');
  const relay = await UdpRelay.start({ ...options, target: { address: '127.0.0.1', port: target.address().port } });
  const numbers: number[] = [];
  const agesMs: number[] = [];
  const sentAtMs: number[] = [];
  const client = createSocket('udp4', (packet) => {
    const number = packet.readUInt32BE();
    numbers.push(number);
    agesMs.push(performance.now() - (sentAtMs[number] ?? 0));
  });
  try {
    for (let number = 0; number < options.count; number += 1) {
      const packet = Buffer.alloc(options.sizeBytes ?? 100);
      packet.writeUInt32BE(number);
      sentAtMs.push(performance.now());
      client.send(packet, relay.port, '127.0.0.1');
      // Lets the sockets read, or the burst overflows the kernel's receive buffer.
      await immediate();
    }
    await until(() => {
      const { up, down } = relay.counters;
      const gone = up.lost + up.overflowed + down.lost + down.overflowed;
      return numbers.length + gone === options.count
        ? ''
        : `${numbers.length} came back, ${gone} were lost of ${options.count}`;
    });
    return { numbers, agesMs };
  } finally {
    relay.close();
    client.close();
    target.close();
  }
}

describe('UDP relay', () => {
  it('forwards both ways in order when it is told nothing', async () => {
    const { numbers } = await run({ count: 200 });
    assert.deepEqual(
      numbers,
      Array.from({ length: 200 }, (_, index) => index),
    );
  });

  it('loses the same packets for the same seed', async () => {
    const first = await run({ count: 300, up: { loss: 0.2 }, seed: 7 });
    const second = await run({ count: 300, up: { loss: 0.2 }, seed: 7 });
    assert.equal(first.numbers.length, second.numbers.length);
    assert.ok(first.numbers.length > 180 && first.numbers.length < 280, `${first.numbers.length} of 300 passed`);
  });

  it('delays', async () => {
    const { agesMs } = await run({ count: 10, up: { delayMs: 30 }, down: { delayMs: 30 } });
    assert.ok(Math.min(...agesMs) >= 58, `fastest took ${Math.min(...agesMs)} ms`);
  });

  it('keeps to a rate with a bounded queue', async () => {
    // 1000 B at 800 kbit/s take 10 ms each; 100 ms of queue hold ten or eleven of a burst of fifty.
    const { numbers, agesMs } = await run({ count: 50, sizeBytes: 1000, down: { rateBps: 800_000 } });
    assert.ok(numbers.length >= 9 && numbers.length <= 16, `${numbers.length} passed`);
    assert.ok(Math.max(...agesMs) >= 80, `slowest took ${Math.max(...agesMs)} ms`);
  });
});
