import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LogRecord } from '../../test/kit/log-record.ts';
import { until } from '../../test/kit/until.ts';
import { nodeId } from '../protocol/ids.ts';
import type { RelayPeer, RelaySettings } from './relay-network.ts';
import type { TcpRelay } from './relay-tcp.ts';
import { startRelay } from './relay-tcp-test-kit.ts';
import { Inbox, note, notesType, params } from './relay-test-kit.ts';

const script = fileURLToPath(new URL('relay-peer-test-kit.ts', import.meta.url));

describe('a node in another process', () => {
  const children: ChildProcess[] = [];
  const relays: TcpRelay[] = [];

  const startPeer = async (): Promise<{ child: ChildProcess; peer: RelayPeer }> => {
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return { child, peer: { nodeId: nodeId('far'), host: '127.0.0.1', port: Number(line.toString()) } };
  };

  const talkTo = async (
    peer: RelayPeer,
    settings: Partial<RelaySettings> = {},
  ): Promise<{ inbox: Inbox; causes: string[] }> => {
    const near = await startRelay({ suffix: 'near', log: new LogRecord(), settings });
    relays.push(near);
    const causes: string[] = [];
    near.onPeerLost((_lost, cause) => causes.push(cause));
    const inbox = new Inbox(near.open(peer, notesType, params));
    inbox.link.send(note(1));
    await inbox.received(1);
    return { inbox, causes };
  };

  afterEach(async () => {
    for (const child of children.splice(0)) {
      child.kill('SIGKILL');
    }
    await Promise.all(relays.splice(0).map((relay) => relay.close()));
  });

  it('is missed at once when it is killed', async () => {
    const { child, peer } = await startPeer();
    const { inbox, causes } = await talkTo(peer, { heartbeatIntervalMs: 60_000 });
    child.kill('SIGKILL');
    await inbox.closed('lost');
    assert.deepEqual(causes, ['reset']);
  });

  it('is missed after some two seconds when it is stopped', async () => {
    const { child, peer } = await startPeer();
    const { inbox, causes } = await talkTo(peer);
    child.kill('SIGSTOP');
    const startedMs = performance.now();
    await inbox.closed('lost');
    const tookMs = performance.now() - startedMs;
    assert.deepEqual(causes, ['silent']);
    assert.ok(tookMs > 1_000 && tookMs < 4_000, `it took ${Math.round(tookMs)} ms`);
  });

  it('is not missed when it is stopped for a moment', async () => {
    const { child, peer } = await startPeer();
    const { inbox, causes } = await talkTo(peer, { heartbeatIntervalMs: 500, heartbeatMisses: 20 });
    child.kill('SIGSTOP');
    inbox.link.send(note(2));
    await assert.rejects(until(() => (inbox.messages.length > 1 ? '' : 'silence'), { timeoutMs: 1_200 }));
    child.kill('SIGCONT');
    await inbox.received(2);
    assert.deepEqual(causes, []);
  });
});
