import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RoomServiceClient } from 'livekit-server-sdk';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { startNode } from '../kit/node.ts';
import { devKey, joinToken } from '../kit/tokens.ts';

/** What may cross to another process: no classes, functions or symbols. Bytes may be a view of a larger buffer. */
function assertPlain(value: unknown, path: string): void {
  assert.ok(typeof value !== 'function' && typeof value !== 'symbol', `${path} is a ${typeof value}`);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return;
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = prototype === Object.prototype || prototype === Array.prototype || prototype === null;
  assert.ok(isPlain, `${path} is a ${value.constructor.name}`);
  for (const [key, child] of Object.entries(value)) assertPlain(child, `${path}.${key}`);
}

describe('a server whose parts share nothing but copies of plain messages', () => {
  it('carries a call, a resume, calls of its API and the end of it', async (t) => {
    const kinds = new Set<string>();
    const problems: string[] = [];
    const node = await startNode({
      transfer: (message) => {
        const { kind } = message as { kind: string };
        kinds.add(kind);
        try {
          assertPlain(message, kind);
        } catch (error) {
          problems.push(error instanceof Error ? error.message : String(error));
        }
        return structuredClone(message);
      },
    });
    t.after(() => node.close());
    const endpoint = await LightEndpoint.start();
    t.after(() => endpoint.close());
    const api = new RoomServiceClient(node.url, devKey.apiKey, devKey.apiSecret);
    const join = async (identity: string): Promise<LightClient> =>
      LightClient.join({
        url: node.url,
        token: await joinToken({ room: 'plain', identity }),
        endpoint,
        publish: { audio: true, video: { simulcast: true } },
      });
    const [alice, bob] = [await join('alice'), await join('bob')];
    for (const [from, to] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      for (const track of from.publishedTrackSids) await to.waitForTrack(track, { contiguousMs: 200 });
      await from.sendData(Buffer.from(from.identity));
      await to.waitForPacket((packet) => packet.participantIdentity === from.identity);
    }
    await api.sendData('plain', Buffer.from('server'), 0, { topic: 'api' });
    await bob.waitForPacket((packet) => packet.value.case === 'user' && packet.value.value.topic === 'api');
    await api.updateParticipant('plain', 'bob', { metadata: 'changed' });
    await alice.waitForParticipant('bob', ({ metadata }) => metadata === 'changed');
    bob.cutSocket();
    await bob.resume();
    for (const track of alice.publishedTrackSids) await bob.waitForTrack(track, { contiguousMs: 200 });
    await api.removeParticipant('plain', 'alice');
    await alice.waitForLeave();
    await bob.leave();

    assert.deepEqual(problems, []);
    const expected = ['join', 'accepted', 'signal', 'send', 'command', 'commandResult', 'socketClosed', 'closeSocket'];
    for (const kind of [...expected, 'open', 'wanted', 'actual', 'offer', 'answer', 'resume', 'resumed', 'closed']) {
      assert.ok(kinds.has(kind), `no ${kind} was sent: ${[...kinds].join()}`);
    }
    await alice.abandon();
  });
});
