import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LogRecord } from '../../test/kit/log-record.ts';
import { until } from '../../test/kit/until.ts';
import type { Link, LinkCloseReason } from '../cluster/link.ts';
import { nodeId } from '../protocol/ids.ts';
import type { LegPeerReply, LegPeerRequest, PeerPacket } from '../protocol/leg-peer-messages.ts';
import { PeerClient, type PipeReceiver } from './peer-client.ts';

/** A link whose far end the test plays. */
class FakeLink implements Link<LegPeerRequest, LegPeerReply> {
  readonly sent: LegPeerRequest[] = [];
  queuedBytes = 0;
  receive: (message: LegPeerReply) => void = () => undefined;
  break: (reason: LinkCloseReason) => void = () => undefined;

  send(message: LegPeerRequest): void {
    this.sent.push(message);
  }

  onMessage(receive: (message: LegPeerReply) => void): void {
    this.receive = receive;
  }

  onClose(closed: (reason: LinkCloseReason) => void): void {
    this.break = closed;
  }

  close(): void {
    this.break('closed');
  }

  data(): number[] {
    return this.sent.flatMap((message) => (message.kind === 'data' ? [message.number] : []));
  }
}

function packet(sizeBytes: number, reliable = true): PeerPacket {
  const about = { roomName: 'room', senderSid: 'PA_a', sequence: 0, order: 0, destinations: [], metrics: false };
  return { ...about, reliable, packet: new Uint8Array(sizeBytes) };
}

const endpoint = { address: '127.0.0.1', port: 1, srtp: { cryptoSuite: '', keyBase64: '' } };
const request = { roomName: 'room', epoch: 1, pipeId: 'p', sourceWorkerIndex: 0, producerId: 'x', endpoint };

class Receiver implements PipeReceiver {
  readonly pipeId = 'p';
  readonly heldProducers = ['x'];
  readonly calls: string[] = [];

  notice(): void {
    this.calls.push('notice');
  }

  linkRestored(): void {
    this.calls.push('restored');
  }

  peerGone(): void {
    this.calls.push('gone');
  }
}

function create(timings: { graceMs?: number; requestTimeoutMs?: number } = {}) {
  const links: FakeLink[] = [];
  const dropped: number[] = [];
  const client = new PeerClient({
    nodeId: nodeId('other'),
    connect: () => {
      const link = new FakeLink();
      links.push(link);
      return link;
    },
    timings: { requestTimeoutMs: 1000, graceMs: 1000, reconnectMs: 5, ...timings },
    maxDataBytes: 100,
    onDataDropped: (packets) => dropped.push(packets),
    onIdle: () => undefined,
    log: new LogRecord().logger(),
  });
  const link = (index: number): FakeLink => {
    const found = links[index];
    assert.ok(found !== undefined, `only ${links.length} links were made`);
    return found;
  };
  return { client, links, link, dropped };
}

describe('client of another leg node', () => {
  it('sends nothing again that arrived, and all that did not, in order', async () => {
    const { client, links, link } = create();
    client.sendData(packet(1));
    assert.deepEqual(link(0).data(), []);
    link(0).receive({ kind: 'held', dataNumber: 0 });
    client.sendData(packet(1));
    client.sendData(packet(1));
    assert.deepEqual(link(0).data(), [1, 2, 3]);
    link(0).receive({ kind: 'dataArrived', dataNumber: 1 });
    link(0).break('lost');
    client.sendData(packet(1));
    await until(() => (links.length === 2 ? '' : 'no new link'));
    link(1).receive({ kind: 'held', dataNumber: 2 });
    client.sendData(packet(1));
    assert.deepEqual(link(1).data(), [3, 4, 5]);
    client.close();
  });

  it('keeps its bound and tells what it drops, at the latest when the node is gone', async () => {
    const { client, link, dropped } = create({ graceMs: 20 });
    for (let count = 0; count < 3; count += 1) {
      client.sendData(packet(40));
    }
    assert.deepEqual(dropped, [1]);
    link(0).break('lost');
    await until(() => (dropped.length === 2 ? '' : 'not gone'));
    assert.deepEqual(dropped, [1, 2]);
    client.close();
  });

  it('carries the first lossy packet when it was told before whom it is to send to', () => {
    const { client, links, link } = create();
    client.prepare();
    client.prepare();
    assert.equal(links.length, 1);
    link(0).receive({ kind: 'held', dataNumber: 0 });
    client.sendData(packet(1, false));
    assert.deepEqual(link(0).data(), [0]);
    client.close();
    client.prepare();
    assert.equal(links.length, 1);
  });

  it('lets lossy data give way to what waits', () => {
    const { client, link } = create();
    client.sendData(packet(1, false));
    link(0).receive({ kind: 'held', dataNumber: 0 });
    client.sendData(packet(1, false));
    link(0).queuedBytes = 1_000_000;
    client.sendData(packet(1, false));
    client.sendData(packet(1));
    assert.deepEqual(link(0).data(), [0, 1]);
    client.close();
  });

  it('does not dial faster because more is sent', async () => {
    const { client, links, link } = create();
    client.sendData(packet(1));
    link(0).break('lost');
    for (let count = 0; count < 50; count += 1) {
      client.sendData(packet(1));
    }
    assert.equal(links.length, 1);
    await until(() => (links.length === 2 ? '' : 'no new link'));
    client.close();
  });

  it('begins each link with the pipes that it has, and tells them', async () => {
    const { client, links, link } = create();
    const pipe = new Receiver();
    client.addPipe(pipe);
    const asked = client.requestPipe(request, new AbortController().signal);
    link(0).break('lost');
    await assert.rejects(asked, { reason: 'leg-peer-unreachable' });
    await until(() => (links.length === 2 ? '' : 'no new link'));
    const [hold] = link(1).sent;
    assert.ok(hold?.kind === 'hold');
    assert.deepEqual(hold.pipes, [{ pipeId: 'p', producerIds: ['x'] }]);
    link(1).receive({ kind: 'held', dataNumber: 0 });
    assert.deepEqual(pipe.calls, ['restored']);
    link(1).break('closed');
    assert.deepEqual(pipe.calls, ['restored', 'gone']);
    client.close();
  });

  it('gives up requests that nobody answers, that are refused, and that nobody wants any more', async () => {
    const { client, link } = create({ requestTimeoutMs: 20 });
    await assert.rejects(client.requestPipe(request, new AbortController().signal), { reason: 'leg-peer-unreachable' });
    const refused = client.requestPipe(request, new AbortController().signal);
    link(0).receive({ kind: 'refused', requestId: 2, reason: 'no-producer', detail: '' });
    await assert.rejects(refused, { reason: 'pipe-no-producer' });
    const abort = new AbortController();
    const aborted = client.requestPipe(request, abort.signal);
    abort.abort(new Error('enough'));
    await assert.rejects(aborted, /enough/);
    client.close();
    await assert.rejects(client.requestPipe(request, new AbortController().signal), { reason: 'leg-peer-unreachable' });
  });
});
