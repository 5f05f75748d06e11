import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { memoryLink } from '../cluster/memory-link.ts';
import type { Link } from '../cluster/link.ts';
import { lostLink } from '../cluster/watched-link.ts';
import { wireSamples } from '../cluster/wire-fixtures.ts';
import type { LegId, NodeId, ParticipantSid } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import { LegLinks } from './leg-links.ts';

const opening = wireSamples['host-to-leg']['open'] as Extract<HostToLeg, { kind: 'open' }>;
const [own, other] = ['ND_own', 'ND_other'] as [NodeId, NodeId];
const sid = (name: string) => `PA_${name}` as ParticipantSid;

function open(name: string): HostToLeg {
  return { ...opening, leg: sid(name), identity: { ...opening.identity, roomName: 'lobby', identity: name } };
}

/** Two leg nodes; `choice` says where the next leg goes. */
function createLinks() {
  const got = new Map<NodeId, HostToLeg[]>([
    [own, []],
    [other, []],
  ]);
  const ends = new Map<NodeId, Link<LegToHost, HostToLeg>>();
  const lost: LegId[][] = [];
  const connect = (nodeId: NodeId) => {
    const [hostEnd, legEnd] = memoryLink<HostToLeg, LegToHost>();
    legEnd.onMessage((message) => got.get(nodeId)?.push(message));
    ends.set(nodeId, legEnd);
    return hostEnd;
  };
  const state: { choice: NodeId | undefined; isReachable: boolean } = { choice: own, isReachable: true };
  const links = new LegLinks({
    nodeId: own,
    placer: {
      choose: () => state.choice,
      complaint: () => undefined,
      connect: (id) => (state.isReachable ? connect(id) : lostLink()),
    },
    receive: () => undefined,
    lost: (legs) => lost.push(legs),
  });
  links.attachOwn(connect(own));
  const kinds = (nodeId: NodeId): string[] => (got.get(nodeId) ?? []).map(({ kind }) => kind);
  return { links, got, ends, lost, state, kinds };
}

describe('LegLinks', () => {
  it('opens legs where the placer wants them and tells each node of the others', async () => {
    const { links, state, got, kinds } = createLinks();
    links.send(open('a'), 5);
    state.choice = other;
    links.send(open('b'), 5);
    links.send({ kind: 'resume', leg: sid('b') }, 5);
    links.send(
      { kind: 'serverPacket', roomName: 'lobby', packet: new Uint8Array(), reliable: true, recipients: [] },
      5,
    );
    await turn();
    assert.deepEqual(kinds(own), ['open', 'roomNodes', 'roomNodes', 'serverPacket']);
    assert.deepEqual(kinds(other), ['open', 'roomNodes', 'resume', 'serverPacket']);
    assert.deepEqual(got.get(other)?.[1], { kind: 'roomNodes', roomName: 'lobby', nodes: [own, other], epoch: 5 });
    links.send({ kind: 'close', leg: sid('b'), reason: 'left' }, 5);
    await turn();
    assert.deepEqual(got.get(own)?.at(-1), { kind: 'roomNodes', roomName: 'lobby', nodes: [own], epoch: 5 });
    assert.equal(kinds(other).at(-1), 'close');
  });

  it('loses the legs of a node with its link, and no others', async () => {
    const { links, state, ends, lost } = createLinks();
    links.send(open('a'), 5);
    state.choice = other;
    links.send(open('b'), 5);
    links.send(open('c'), 5);
    await turn();
    ends.get(other)?.close();
    assert.deepEqual(lost, [[sid('b'), sid('c')]]);
  });

  it('says so when there is no node for a leg', () => {
    const { links, state } = createLinks();
    state.choice = undefined;
    assert.equal(links.send(open('a'), 5), false);
    state.choice = other;
    state.isReachable = false;
    assert.equal(links.send(open('b'), 5), false);
  });
});
