import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LogRecord } from '../../test/kit/log-record.ts';
import { MemoryRelayHub } from './relay-memory.ts';
import {
  acceptNotes,
  firstOf,
  identity,
  Inbox,
  note,
  notesType,
  params,
  relayContract,
  type RelayPair,
} from './relay-test-kit.ts';

const silentMs = 100;

function pair(nearHub: MemoryRelayHub, farHub: MemoryRelayHub): RelayPair {
  const near = nearHub.join(identity('near'));
  const far = farHub.join(identity('far'));
  const { nodeId } = identity('far');
  return {
    near,
    far,
    farPeer: { nodeId, host: '', port: 0 },
    farUnknown: () => far.unknownMessages,
    killFar: () => farHub.kill(nodeId),
    freezeFar: () => farHub.freeze(nodeId),
    close: async () => {
      await Promise.all([near.close(), far.close()]);
    },
  };
}

function hub(log: LogRecord, options: { maxQueuedMessages?: number } = {}): MemoryRelayHub {
  return new MemoryRelayHub({ log: log.logger(), transfer: structuredClone, lostAfterMs: silentMs, ...options });
}

relayContract('in one process', {
  silentMs,
  pair: (log, options) => {
    const shared = hub(log, options);
    return Promise.resolve(pair(shared, shared));
  },
  strangers: (log) => Promise.resolve(pair(hub(log), hub(log))),
});

it('hands over copies, so that two nodes in one process cannot share state by accident', async () => {
  const shared = hub(new LogRecord());
  const { near, far, farPeer, close } = pair(shared, shared);
  const accepted = acceptNotes(far);
  const sent = note(1, 'as it was');
  near.open(farPeer, notesType, params).send(sent);
  const inbox = new Inbox((await firstOf(accepted)).link);
  await inbox.received(1);
  assert.deepEqual(inbox.messages, [sent]);
  assert.notEqual(inbox.messages[0], sent);
  await close();
});
