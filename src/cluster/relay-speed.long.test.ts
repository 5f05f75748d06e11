/** Prints what a connection between two nodes on one machine carries, with the CPU of both ends in one process. */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { LogRecord } from '../../test/kit/log-record.ts';
import { until } from '../../test/kit/until.ts';
import { nodeId, connectionId } from '../protocol/ids.ts';
import { startRelay } from './relay-tcp-test-kit.ts';
import { EncodedMessage } from './wire-codec.ts';
import { sessionChannel } from './wire-messages.ts';

type Run = { name: string; sizeBytes: number; messages: number };

describe('speed of the relay', () => {
  for (const { name, sizeBytes, messages } of [
    { name: 'signal messages of 200 bytes', sizeBytes: 200, messages: 300_000 },
    { name: 'signal messages of 2 kB', sizeBytes: 2_000, messages: 100_000 },
    { name: 'messages of 1 MB', sizeBytes: 1_000_000, messages: 500 },
  ] satisfies Run[]) {
    it(`carries ${name}`, async (test) => {
      const log = new LogRecord();
      const [near, far] = [await startRelay({ suffix: 'near', log }), await startRelay({ suffix: 'far', log })];
      let received = 0;
      far.onChannel(sessionChannel, ({ link }) => link.onMessage(() => (received += 1)));
      const link = near.open({ nodeId: nodeId('far'), host: '127.0.0.1', port: far.port }, sessionChannel, {});
      const message = new Uint8Array(sizeBytes);
      const maxWaitingBytes = 4_000_000;
      const startedMs = performance.now();
      const cpu = process.cpuUsage();
      for (let sent = 0; sent < messages;) {
        for (; sent < messages && link.queuedBytes < maxWaitingBytes; sent += 1) {
          link.send({ kind: 'signal', connectionId: connectionId('22224444aaaa'), message });
        }
        await new Promise(setImmediate);
      }
      await until(() => (received === messages ? '' : `${received} of ${messages} came`), {
        timeoutMs: 60_000,
        intervalMs: 1,
      });
      const tookS = (performance.now() - startedMs) / 1_000;
      const used = process.cpuUsage(cpu);
      const cpuUs = (used.user + used.system) / messages;
      test.diagnostic(
        `${Math.round(messages / tookS)} messages/s, ${((messages * sizeBytes) / tookS / 1e6).toFixed(0)} MB/s, ${cpuUs.toFixed(1)} µs CPU per message (both ends)`,
      );
      assert.equal(link.queuedBytes, 0);
      await Promise.all([near.close(), far.close()]);
    });
  }

  it('answers small messages while large ones pass', async (test) => {
    const log = new LogRecord();
    const [near, far] = [await startRelay({ suffix: 'near', log }), await startRelay({ suffix: 'far', log })];
    far.onChannel(sessionChannel, ({ link }) =>
      link.onMessage((message) => {
        if (message.kind === 'signal' && message.message.length < 1_000) {
          link.send({ kind: 'accepted', connectionId: message.connectionId, message: message.message });
        }
      }),
    );
    const peer = { nodeId: nodeId('far'), host: '127.0.0.1', port: far.port };
    const bulk = near.open(peer, sessionChannel, {});
    const small = near.open(peer, sessionChannel, {});
    let answer: (() => void) | undefined;
    small.onMessage(() => answer?.());
    const id = connectionId('22224444aaaa');
    const large = new EncodedMessage({ kind: 'signal' as const, connectionId: id, message: new Uint8Array(1_000_000) });
    const latenciesMs: number[] = [];
    for (let round = 0; round < 300; round += 1) {
      while (bulk.queuedBytes < 8_000_000) {
        bulk.send(large);
      }
      const startedMs = performance.now();
      await new Promise<void>((resolve) => {
        answer = resolve;
        small.send({ kind: 'signal', connectionId: id, message: new Uint8Array(100) });
      });
      latenciesMs.push(performance.now() - startedMs);
    }
    const sorted = latenciesMs.toSorted((a, b) => a - b);
    const at = (share: number): string => (sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(1);
    test.diagnostic(
      `round trip beside a full bulk channel: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, max ${at(0.999)} ms`,
    );
    assert.ok((sorted[150] ?? Infinity) < 500);
    await Promise.all([near.close(), far.close()]);
  });
});
