import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { maxMessageBytes } from './media-types.ts';
import { patienceWithMessages } from './lossy-limit.ts';
import { lowBufferBytes, OutgoingStream } from './outgoing-stream.ts';

/**
 * A worker and the ordered pipe to it: what is sent takes effect in order and only when the pipe is read; questions are
 * answered from the state at that point; `bufferedamountlow` may overtake an answer.
 */
class ModelWorker {
  readonly delivered: number[] = [];
  heldBytes = 0;
  mostHeldBytes = 0;
  #held: Uint8Array[] = [];
  readonly #pipe: (() => void)[] = [];
  readonly #answers: (() => void)[] = [];
  readonly #onLow: () => void;

  constructor(onLow: () => void) {
    this.#onLow = onLow;
  }

  send(payload: Uint8Array): void {
    this.#pipe.push(() => {
      this.#held.push(payload);
      this.heldBytes += payload.byteLength;
      this.mostHeldBytes = Math.max(this.mostHeldBytes, this.heldBytes);
    });
  }

  bufferedAmount(): Promise<number> {
    return new Promise((resolve) => {
      this.#pipe.push(() => {
        const bytes = this.heldBytes;
        this.#answers.push(() => resolve(bytes));
      });
    });
  }

  readPipe(): void {
    for (const step of this.#pipe.splice(0)) {
      step();
    }
  }

  answer(): void {
    for (const answer of this.#answers.splice(0)) {
      answer();
    }
  }

  drain(bytes: number): void {
    const before = this.heldBytes;
    let left = bytes;
    while (left > 0) {
      const first = this.#held.shift();
      if (first === undefined) {
        break;
      }
      left -= first.byteLength;
      this.heldBytes -= first.byteLength;
      this.delivered.push(new DataView(first.buffer).getUint32(0));
    }
    if (before > lowBufferBytes && this.heldBytes <= lowBufferBytes) {
      this.#onLow();
    }
  }
}

function message(number: number, sizeBytes: number): Uint8Array {
  const payload = new Uint8Array(sizeBytes);
  new DataView(payload.buffer).setUint32(0, number);
  return payload;
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function setUp(
  policy: 'queue' | 'drop',
  maxQueueBytes = 100_000_000,
): { stream: OutgoingStream; worker: ModelWorker; stuck: number[]; offer(payload: Uint8Array): boolean } {
  const stuck: number[] = [];
  const worker: ModelWorker = new ModelWorker(() => stream.bufferedAmountLow());
  const stream = new OutgoingStream({
    now: () => performance.now(),
    policy: policy === 'queue' ? { kind: 'queue', maxQueueBytes } : { kind: 'drop', patience: patienceWithMessages },
    port: worker,
    onStuck: () => stuck.push(1),
  });
  const offer = (payload: Uint8Array): boolean => {
    const now = stream.admit(payload);
    if (now) {
      worker.send(payload);
    }
    return now;
  };
  return { stream, worker, stuck, offer };
}

describe('outgoing stream of reliable data', () => {
  it('delivers everything in order and never lets the worker hold more than its share', async () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('send' as const),
          amount: fc.oneof(fc.integer({ min: 4, max: 60_000 }), fc.integer({ min: 60_000, max: maxMessageBytes })),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('drain' as const), amount: fc.integer({ min: 1, max: 200_000 }) }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constantFrom('read' as const, 'answer' as const, 'turn' as const),
          amount: fc.constant(0),
        }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const { stream, worker, offer } = setUp('queue');
        let sent = 0;
        for (const [index, { kind, amount }] of steps.entries()) {
          if (index === 10) {
            stream.open();
          }
          if (kind === 'send') {
            offer(message(sent, amount));
            sent += 1;
          } else if (kind === 'drain') {
            worker.drain(amount);
          } else if (kind === 'read') {
            worker.readPipe();
          } else if (kind === 'answer') {
            worker.answer();
          } else {
            await settled();
          }
        }
        stream.open();
        for (let round = 0; round < 200 && worker.delivered.length < sent; round += 1) {
          worker.readPipe();
          worker.answer();
          await settled();
          worker.drain(100_000);
        }
        assert.deepEqual(
          worker.delivered,
          Array.from({ length: sent }, (_, index) => index),
        );
        assert.ok(worker.mostHeldBytes <= lowBufferBytes + maxMessageBytes, `the worker held ${worker.mostHeldBytes}`);
        assert.deepEqual(stream.counters, { queuedBytes: 0, queuedMessages: 0, dropped: 0 });
      }),
      { numRuns: 60 },
    );
  });

  it('asks the worker about every 32 KB, not for each message', async () => {
    const { stream, worker, offer } = setUp('queue');
    let asked = 0;
    const ask = worker.bufferedAmount.bind(worker);
    worker.bufferedAmount = () => {
      asked += 1;
      return ask();
    };
    stream.open();
    for (let number = 0; number < 1000; number += 1) {
      offer(message(number, 200));
      if (number % 10 === 9) {
        worker.readPipe();
        worker.answer();
        await settled();
        worker.drain(1_000_000);
      }
    }
    assert.ok(asked >= 4 && asked <= 8, `asked ${asked} times for 200 KB`);
  });

  it('gives up once its bound is passed and takes nothing more', () => {
    const { stream, stuck, offer } = setUp('queue', 50_000);
    for (let number = 0; number < 100; number += 1) {
      offer(message(number, 1000));
    }
    assert.equal(stuck.length, 1);
    assert.equal(stream.counters.queuedBytes, 0);
    stream.open();
    assert.equal(offer(message(1, 10)), false);
  });
});

describe('outgoing stream of lossy data', () => {
  it('keeps nothing while the channel is not open', () => {
    const { stream, offer } = setUp('drop');
    assert.equal(offer(message(0, 100)), false);
    assert.deepEqual(stream.counters, { queuedBytes: 0, queuedMessages: 0, dropped: 1 });
  });

  it('lets a burst through that the worker has not confirmed, but not an endless one', () => {
    const { stream, offer } = setUp('drop');
    stream.open();
    let passed = 0;
    for (let number = 0; number < 200; number += 1) {
      passed += offer(message(number, 15_000)) ? 1 : 0;
    }
    assert.ok(passed >= 60 && passed <= 70, `${passed} passed`);
  });

  it('drops behind a standing backlog and flows again once the worker has drained it', async () => {
    const { stream, worker, offer } = setUp('drop');
    stream.open();
    for (let number = 0; number < 10; number += 1) {
      offer(message(number, 15_000));
    }
    worker.readPipe();
    await settled();
    worker.readPipe();
    worker.answer();
    await settled();
    assert.equal(offer(message(10, 1000)), false);
    worker.drain(1_000_000);
    worker.readPipe();
    worker.answer();
    await settled();
    assert.equal(offer(message(11, 1000)), true);
  });
});
