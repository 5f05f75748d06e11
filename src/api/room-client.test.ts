import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { memoryLink } from '../cluster/memory-link.ts';
import type { Link } from '../cluster/link.ts';
import { nodeId } from '../protocol/ids.ts';
import type { GatewayToHost, HostToGateway } from '../protocol/session-messages.ts';
import { RoomClient, type RoomCall } from './room-client.ts';

type HostEnd = Link<HostToGateway, GatewayToHost>;

function createClient(
  answer: (host: HostEnd, message: GatewayToHost) => void,
  maxPending?: number,
): { client: RoomClient; hosts: HostEnd[] } {
  const hosts: HostEnd[] = [];
  const connect = (): Link<GatewayToHost, HostToGateway> => {
    const [near, far] = memoryLink<GatewayToHost, HostToGateway>({ transfer: structuredClone });
    far.onMessage((message) => answer(far, message));
    hosts.push(far);
    return near;
  };
  return {
    client: new RoomClient({ connector: { connect }, ...(maxPending === undefined ? {} : { maxPending }) }),
    hosts,
  };
}

function call(overrides: Partial<RoomCall> = {}): RoomCall {
  return {
    nodeId: nodeId('one'),
    roomName: 'demo',
    command: { method: 'DeleteRoom', request: new Uint8Array() },
    timeoutMs: 5_000,
    signal: new AbortController().signal,
    ...overrides,
  };
}

function requestIdOf(message: GatewayToHost): number {
  assert.equal(message.kind, 'command');
  return message.kind === 'command' ? message.requestId : 0;
}

describe('RoomClient', () => {
  it('matches answers to calls, whatever their order, over one link per node', async () => {
    const waiting: number[] = [];
    const { client, hosts } = createClient((host, message) => {
      waiting.push(requestIdOf(message));
      if (waiting.length === 2) {
        for (const requestId of waiting.reverse()) {
          host.send({ kind: 'commandResult', requestId, result: { ok: true, response: new Uint8Array([requestId]) } });
        }
      }
    });
    const results = await Promise.all([client.run(call()), client.run(call())]);
    assert.deepEqual(
      results.map((result) => result.ok && result.response[0]),
      [1, 2],
    );
    assert.equal(hosts.length, 1);
    assert.equal(client.pendingCount, 0);
    client.close();
  });

  it('gives up at the deadline and ignores the late answer', async () => {
    const late: (() => void)[] = [];
    const { client } = createClient((host, message) => {
      const requestId = requestIdOf(message);
      late.push(() =>
        host.send({ kind: 'commandResult', requestId, result: { ok: true, response: new Uint8Array() } }),
      );
      if (requestId === 2) {
        for (const send of late) {
          send();
        }
      }
    });
    await assert.rejects(client.run(call({ timeoutMs: 5 })), { code: 'deadline_exceeded' });
    assert.equal((await client.run(call())).ok, true);
    client.close();
  });

  it('stops waiting when the caller goes away', async () => {
    const caller = new AbortController();
    const { client } = createClient(() => caller.abort());
    await assert.rejects(client.run(call({ signal: caller.signal })), { code: 'canceled' });
    await assert.rejects(client.run(call({ signal: caller.signal })), { code: 'canceled' });
    assert.equal(client.pendingCount, 0);
    client.close();
  });

  it('takes the time limit of its caller for one of its own', async () => {
    const { client } = createClient(() => {});
    await assert.rejects(client.run(call({ signal: AbortSignal.timeout(5) })), { code: 'deadline_exceeded' });
    client.close();
  });

  it('refuses more calls than may wait', async () => {
    const { client } = createClient(() => {}, 1);
    const first = client.run(call());
    await assert.rejects(client.run(call()), { code: 'resource_exhausted' });
    client.close();
    await assert.rejects(first, { code: 'unavailable' });
  });

  it('fails only the calls of the link that breaks', async () => {
    const { client, hosts } = createClient((host, message) => {
      if (host === hosts[1]) {
        hosts[0]?.close();
        host.send({
          kind: 'commandResult',
          requestId: requestIdOf(message),
          result: { ok: true, response: new Uint8Array() },
        });
      }
    });
    const [broken, fine] = await Promise.allSettled([
      client.run(call({ nodeId: nodeId('one') })),
      client.run(call({ nodeId: nodeId('two') })),
    ]);
    assert.equal(broken.status, 'rejected');
    assert.equal(fine.status, 'fulfilled');
    client.close();
  });

  it('a link that is closed at once is not waited for', async () => {
    const connect = (): Link<GatewayToHost, HostToGateway> => {
      const [near] = memoryLink<GatewayToHost, HostToGateway>();
      near.close();
      return near;
    };
    const client = new RoomClient({ connector: { connect } });
    await assert.rejects(client.run(call()), { code: 'unavailable' });
  });

  it('close rejects what waits, twice is as good as once, and nothing runs afterwards', async () => {
    const { client } = createClient(() => {});
    const waiting = client.run(call());
    client.close();
    client.close();
    await assert.rejects(waiting, { code: 'unavailable' });
    await assert.rejects(client.run(call()), { code: 'unavailable' });
    assert.equal(client.pendingCount, 0);
  });
});
