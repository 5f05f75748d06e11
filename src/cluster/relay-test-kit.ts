/** What every relay has to do, as one suite over all of them, and what its tests need. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { LogRecord } from '../../test/kit/log-record.ts';
import { until } from '../../test/kit/until.ts';
import { nodeId, type NodeId } from '../protocol/ids.ts';
import type { LinkCloseReason } from './link.ts';
import type {
  AcceptedChannel,
  ChannelType,
  PeerLostCause,
  RelayIdentity,
  RelayLink,
  RelayNetwork,
  RelayPeer,
} from './relay-network.ts';
import { EncodedMessage } from './wire-codec.ts';
import { bytes, number, shape, text } from './wire-shape.ts';
import { MessageTable } from './wire-table.ts';

export type Note = { kind: 'note'; number: number; text: string } | { kind: 'blob'; bytes: Uint8Array };
type Params = { room: string };

const notes = new MessageTable<Note>({ note: { number, text }, blob: { bytes } });

/** A channel type per name; the suite opens several kinds beside each other. */
export function noteChannel(name = 'notes'): ChannelType<Params, Note, Note> {
  return { name, params: shape<Params>({ room: text }), toServer: notes, toClient: notes };
}

export const notesType = noteChannel();
export const params: Params = { room: 'r' };

export function note(value: number, content = ''): Note {
  return { kind: 'note', number: value, text: content };
}

export function identity(suffix: string): RelayIdentity & { nodeId: NodeId } {
  return { nodeId: nodeId(suffix), role: 'media', software: '0.0.0-test', features: ['notes'] };
}

/** Everything that came out of one end of a link. */
export class Inbox {
  readonly messages: Note[] = [];
  readonly epochs: (number | undefined)[] = [];
  readonly closes: LinkCloseReason[] = [];
  readonly link: RelayLink<Note, Note>;

  constructor(link: RelayLink<Note, Note>) {
    this.link = link;
    link.onClose((reason) => this.closes.push(reason));
    link.onMessage((message, epoch) => {
      this.messages.push(message);
      this.epochs.push(epoch);
    });
  }

  get numbers(): number[] {
    return this.messages.flatMap((message) => (message.kind === 'note' ? [message.number] : []));
  }

  async received(count: number): Promise<void> {
    await until(() => (this.messages.length >= count ? '' : `${this.messages.length} of ${count} messages came`));
  }

  async closed(reason: LinkCloseReason, timeoutMs = 10_000): Promise<void> {
    await until(() => (this.closes.length > 0 ? '' : 'the link is not closed'), { timeoutMs });
    assert.deepEqual(this.closes, [reason]);
  }
}

/** Keeps the links that a relay accepted. */
export function acceptNotes(relay: RelayNetwork, type = notesType): AcceptedChannel<Params, Note, Note>[] {
  const accepted: AcceptedChannel<Params, Note, Note>[] = [];
  relay.onChannel(type, (channel) => accepted.push(channel));
  return accepted;
}

export function echoNotes(relay: RelayNetwork, type = notesType): void {
  relay.onChannel(type, ({ link }) => link.onMessage((message, epoch) => link.send(message, epoch)));
}

export async function firstOf<Item>(items: readonly Item[], count = 1): Promise<Item> {
  await until(() => (items.length >= count ? '' : 'nothing was accepted'));
  return items[count - 1]!;
}

export type RelayPair = {
  near: RelayNetwork;
  far: RelayNetwork;
  /** The far node as the near one reaches it. */
  farPeer: RelayPeer;
  /** Messages of unknown kinds that the far node dropped. */
  farUnknown: () => number;
  /** The far node, or the network to it, breaks. */
  killFar: () => void;
  /** Not a byte comes from the far node any more. */
  freezeFar: () => void;
  close: () => Promise<void>;
};

export type RelayHarness = {
  /** How long a frozen node may go unnoticed. */
  silentMs: number;
  pair: (log: LogRecord, options?: { maxQueuedMessages?: number }) => Promise<RelayPair>;
  /** Two nodes that do not share a secret. */
  strangers: (log: LogRecord) => Promise<RelayPair>;
};

export function relayContract(name: string, harness: RelayHarness): void {
  describe(`relay contract: ${name}`, () => {
    let log = new LogRecord();
    const pairs: RelayPair[] = [];
    const start = async (options: { maxQueuedMessages?: number } = {}): Promise<RelayPair> => {
      log = new LogRecord();
      const pair = await harness.pair(log, options);
      pairs.push(pair);
      return pair;
    };
    const lossesSeenBy = (relay: RelayNetwork): [NodeId, PeerLostCause][] => {
      const losses: [NodeId, PeerLostCause][] = [];
      relay.onPeerLost((lost, cause) => losses.push([lost, cause]));
      return losses;
    };

    afterEach(async () => {
      await Promise.all(pairs.splice(0).map((pair) => pair.close()));
      assert.deepEqual(log.unexpectedErrors(), []);
    });

    it('carries messages both ways in order, with parameters, epochs and the name of the peer', async () => {
      const { near, far, farPeer } = await start();
      const accepted = acceptNotes(far);
      const mine = new Inbox(near.open(farPeer, notesType, { room: 'blue' }));
      const { link, params: given, peer } = await firstOf(accepted);
      assert.deepEqual(given, { room: 'blue' });
      assert.equal(peer.role, 'media');
      assert.deepEqual(peer.features, ['notes']);
      const theirs = new Inbox(link);
      for (let index = 0; index < 500; index += 1) {
        mine.link.send(note(index), index % 2 === 0 ? 7_000_000_000 + index : undefined);
        theirs.link.send(note(10_000 + index));
      }
      await Promise.all([theirs.received(500), mine.received(500)]);
      assert.deepEqual(
        theirs.numbers,
        Array.from({ length: 500 }, (_, index) => index),
      );
      assert.deepEqual(
        mine.numbers,
        Array.from({ length: 500 }, (_, index) => 10_000 + index),
      );
      assert.deepEqual(theirs.epochs.slice(0, 4), [7_000_000_000, undefined, 7_000_000_002, undefined]);
    });

    it('keeps what is sent before the channel stands, and what comes before there is a receiver', async () => {
      const { near, far, farPeer } = await start();
      const accepted = acceptNotes(far);
      const link = near.open(farPeer, notesType, params);
      link.send(note(1));
      link.send(note(2));
      const theirs = (await firstOf(accepted)).link;
      link.send(note(3));
      const probe = new Inbox(near.open(farPeer, notesType, params));
      await firstOf(accepted, 2);
      const inbox = new Inbox(theirs);
      await inbox.received(3);
      assert.deepEqual(inbox.numbers, [1, 2, 3]);
      probe.link.close();
    });

    it('delivers what was sent before a close, then says `closed` once at both ends', async () => {
      const { near, far, farPeer } = await start();
      const accepted = acceptNotes(far);
      const mine = new Inbox(near.open(farPeer, notesType, params));
      const theirs = new Inbox((await firstOf(accepted)).link);
      mine.link.send(note(1));
      mine.link.send(note(2));
      mine.link.close();
      mine.link.close();
      mine.link.send(note(3));
      await theirs.closed('closed');
      theirs.link.close();
      assert.deepEqual(theirs.numbers, [1, 2]);
      assert.deepEqual(mine.closes, ['closed']);
    });

    it('delivers what a paused receiver has not taken yet before it says that the peer closed', async () => {
      const { near, far, farPeer } = await start();
      const accepted = acceptNotes(far);
      const mine = near.open(farPeer, notesType, params);
      const theirs = new Inbox((await firstOf(accepted)).link);
      theirs.link.pause();
      mine.send(note(1));
      mine.close();
      const other = new Inbox(near.open(farPeer, notesType, params));
      new Inbox((await firstOf(accepted, 2)).link).link.send(note(9));
      await other.received(1);
      assert.deepEqual([theirs.numbers, theirs.closes], [[], []]);
      theirs.link.resume();
      await theirs.closed('closed');
      assert.deepEqual(theirs.numbers, [1]);
    });

    it('closes the channel of a receiver that stays behind with `overflow`, and no other', async () => {
      const { near, far, farPeer } = await start({ maxQueuedMessages: 1_000 });
      const accepted = acceptNotes(far);
      echoNotes(far, noteChannel('echo'));
      const slow = new Inbox(near.open(farPeer, notesType, params));
      const swift = new Inbox(near.open(farPeer, noteChannel('echo'), params));
      const theirs = new Inbox((await firstOf(accepted)).link);
      theirs.link.pause();
      const filler = 'x'.repeat(1_000);
      for (let index = 0; slow.closes.length === 0 && index < 10_000; index += 1) {
        slow.link.send(note(index, filler));
        if (index % 100 === 0) {
          swift.link.send(note(index));
          await swift.received(index / 100 + 1);
        }
      }
      assert.deepEqual(slow.closes, ['overflow']);
      await theirs.closed('overflow');
      const before = swift.messages.length;
      swift.link.send(note(1));
      await swift.received(before + 1);
      assert.deepEqual(swift.closes, []);
    });

    it('goes on where it was paused, with nothing lost', async () => {
      const { near, far, farPeer } = await start();
      const accepted = acceptNotes(far);
      const mine = near.open(farPeer, notesType, params);
      const theirs = new Inbox((await firstOf(accepted)).link);
      theirs.link.pause();
      const filler = 'x'.repeat(2_000);
      for (let index = 0; index < 1_000; index += 1) {
        mine.send(note(index, filler));
      }
      theirs.link.resume();
      await theirs.received(1_000);
      assert.deepEqual(
        theirs.numbers,
        Array.from({ length: 1_000 }, (_, index) => index),
      );
    });

    it('loses a channel that the node does not serve, and keeps the others', async () => {
      const { near, far, farPeer } = await start();
      echoNotes(far);
      const good = new Inbox(near.open(farPeer, notesType, params));
      const bad = new Inbox(near.open(farPeer, noteChannel('nobody-serves-this'), params));
      await bad.closed('lost');
      good.link.send(note(1));
      await good.received(1);
    });

    it('loses the links to a node that cannot be reached, and says why to whoever asks', async () => {
      const { near, farPeer } = await start();
      const nobody = { ...farPeer, nodeId: nodeId('nobody'), port: 1 };
      const link = new Inbox(near.open(nobody, notesType, params));
      link.link.send(note(1));
      await link.closed('lost');
      await assert.rejects(near.reach(nobody, AbortSignal.timeout(5_000)), { reason: 'relay-unreachable' });
    });

    it('reaches a node that is there', async () => {
      const { near, far, farPeer } = await start();
      echoNotes(far);
      const facts = await near.reach(farPeer, AbortSignal.timeout(5_000));
      assert.equal(facts.nodeId, farPeer.nodeId);
      assert.equal((await near.reach(farPeer, AbortSignal.timeout(5_000))).nodeId, farPeer.nodeId);
      await assert.rejects(near.reach(farPeer, AbortSignal.abort()), { name: 'AbortError' });
    });

    it('drops and counts messages of unknown kinds, and keeps unknown fields', async () => {
      const { near, far, farPeer, farUnknown } = await start();
      const accepted = acceptNotes(far);
      const mine = near.open(farPeer, notesType, params);
      const theirs = new Inbox((await firstOf(accepted)).link);
      mine.send({ kind: 'newer', what: 1 } as unknown as Note);
      const newer = { ...note(1), newer: { deep: [1, 2] } };
      mine.send(newer);
      await theirs.received(1);
      assert.deepEqual(theirs.messages, [newer]);
      assert.equal(farUnknown(), 1);
    });

    it('keeps 200 channels apart', async () => {
      const { near, far, farPeer } = await start();
      echoNotes(far);
      const inboxes = Array.from({ length: 200 }, () => new Inbox(near.open(farPeer, notesType, params)));
      for (let round = 0; round < 20; round += 1) {
        inboxes.forEach((inbox, index) => inbox.link.send(note(index * 1_000 + round)));
      }
      await Promise.all(inboxes.map((inbox) => inbox.received(20)));
      inboxes.forEach((inbox, index) => {
        assert.deepEqual(
          inbox.numbers,
          Array.from({ length: 20 }, (_, round) => index * 1_000 + round),
        );
      });
    });

    it('carries bytes unchanged, also 1 MB at a time beside small messages that do not wait for them', async () => {
      const { near, far, farPeer } = await start();
      const accepted = acceptNotes(far, noteChannel('bulk'));
      echoNotes(far);
      const bulk = near.open(farPeer, noteChannel('bulk'), params);
      const small = new Inbox(near.open(farPeer, notesType, params));
      const sink = new Inbox((await firstOf(accepted)).link);
      small.link.send(note(-1));
      await small.received(1);
      const blob: Note = { kind: 'blob', bytes: Uint8Array.from({ length: 1_000_000 }, (_, index) => index % 251) };
      for (let index = 0; index < 16; index += 1) {
        bulk.send(blob);
      }
      const startedMs = performance.now();
      small.link.send(note(1));
      await small.received(2);
      const latencyMs = performance.now() - startedMs;
      assert.ok(latencyMs < 2_000, `a small message took ${latencyMs} ms`);
      await sink.received(16);
      assert.deepEqual(sink.messages[15], blob);
    });

    it('sends one encoded message to several', async () => {
      const { near, far, farPeer } = await start();
      const accepted = acceptNotes(far);
      const links = [1, 2, 3].map(() => near.open(farPeer, notesType, params));
      await firstOf(accepted, 3);
      const inboxes = accepted.map(({ link }) => new Inbox(link));
      const message = new EncodedMessage(note(5, 'all'));
      links.forEach((link, index) => link.send(message, index));
      await Promise.all(inboxes.map((inbox) => inbox.received(1)));
      assert.deepEqual(
        inboxes.map(({ messages, epochs }) => [messages, epochs]),
        [0, 1, 2].map((index) => [[note(5, 'all')], [index]]),
      );
    });

    it('does not let the fault of one receiver reach another', async () => {
      const { near, far, farPeer } = await start();
      log.expectErrors(/receiver at fault/);
      far.onChannel(notesType, ({ link }) =>
        link.onMessage((message) => {
          if (message.kind === 'note' && message.number === 1) {
            throw new Error('receiver at fault');
          }
          link.send(message);
        }),
      );
      const inbox = new Inbox(near.open(farPeer, notesType, params));
      inbox.link.send(note(1));
      inbox.link.send(note(2));
      await inbox.received(1);
      assert.deepEqual(inbox.numbers, [2]);
    });

    it('loses all links to a node that is killed, and says so', async () => {
      const { near, far, farPeer, killFar } = await start();
      echoNotes(far);
      const losses = lossesSeenBy(near);
      const inboxes = [1, 2].map(() => new Inbox(near.open(farPeer, notesType, params)));
      inboxes[0]!.link.send(note(1));
      await inboxes[0]!.received(1);
      killFar();
      await Promise.all(inboxes.map((inbox) => inbox.closed('lost')));
      assert.deepEqual(losses, [[farPeer.nodeId, 'reset']]);
      await new Inbox(near.open(farPeer, notesType, params)).closed('lost');
    });

    it('notices a node that stands still', async () => {
      const { near, far, farPeer, freezeFar } = await start();
      echoNotes(far);
      const losses = lossesSeenBy(near);
      const inbox = new Inbox(near.open(farPeer, notesType, params));
      inbox.link.send(note(1));
      await inbox.received(1);
      freezeFar();
      const startedMs = performance.now();
      await inbox.closed('lost', harness.silentMs + 5_000);
      assert.ok(performance.now() - startedMs >= harness.silentMs * 0.5, 'a pause of a moment must not count as death');
      assert.deepEqual(losses, [[farPeer.nodeId, 'silent']]);
    });

    it('closes its links in order when it shuts down, and is not missed', async () => {
      const { near, far, farPeer } = await start();
      const accepted = acceptNotes(far);
      const losses = lossesSeenBy(near);
      const mine = new Inbox(near.open(farPeer, notesType, params));
      const theirs = new Inbox((await firstOf(accepted)).link);
      for (let index = 0; index < 100; index += 1) {
        theirs.link.send(note(index, 'x'.repeat(10_000)));
      }
      await far.close();
      await mine.closed('closed');
      assert.equal(mine.messages.length, 100);
      assert.deepEqual(theirs.closes, ['closed']);
      assert.deepEqual(losses, []);
      await new Inbox(far.open(farPeer, notesType, params)).closed('lost');
    });

    it('has nothing to do with nodes that do not share its secret', async () => {
      log = new LogRecord();
      log.expectErrors(/relay-wrong-secret/);
      const pair = await harness.strangers(log);
      pairs.push(pair);
      const accepted = acceptNotes(pair.far);
      const inbox = new Inbox(pair.near.open(pair.farPeer, notesType, params));
      inbox.link.send(note(1));
      await inbox.closed('lost');
      await assert.rejects(pair.near.reach(pair.farPeer, AbortSignal.timeout(5_000)), { name: 'PlenumError' });
      assert.deepEqual(accepted, []);
    });
  });
}
