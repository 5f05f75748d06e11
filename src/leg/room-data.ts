/** The data plane of one room on this node: stamps and checks a sender's packet once, encodes it once, delivers it to many. */
import { DataPacket, DataPacket_Kind, UserPacket } from '@livekit/protocol';
import type { LegId } from '../protocol/ids.ts';
import type { LegIdentity } from '../protocol/leg-messages.ts';
import type { PeerPacket } from '../protocol/leg-peer-messages.ts';
import type { HeldData } from '../protocol/leg-snapshot.ts';
import {
  decodeDataPacket,
  destinationsOf,
  maxDataPacketBytes,
  mayCarry,
  rpcRequestIdOf,
  stamp,
  type DataKind,
} from './data-rules.ts';
import { frameHandle, withHandle, type DataRoute } from './data-track-frame.ts';
import type { DataDropReason } from './observer.ts';
import { ReliableOrder } from './reliable-order.ts';
import { ReplayCache, type CachedPacket } from './replay-cache.ts';

/** A participant as the data plane sees it. */
export interface DataMember {
  readonly legId: LegId;
  readonly identity: LegIdentity;
  /** False: the participant's leg is another one, and this one waits to take over, or was taken over. */
  readonly isPresent: boolean;
  /** Changes with the participant's permissions. */
  readonly canPublishData: boolean;
  /** What it sends on data tracks, by its own numbers, and which of others' it receives. */
  readonly dataTracksOut: ReadonlyMap<number, DataRoute>;
  readonly dataTracksIn: ReadonlySet<number>;
  /** Sends a packet of a data track, if the participant's channel takes it at once. */
  deliverFrame(bytes: Uint8Array): void;
  /** Queues a packet on the participant's channel of that kind; the same bytes go to many, so they must not be changed. */
  deliver(kind: DataKind, packet: DeliveredPacket): void;
}

export type DeliveredPacket = Pick<CachedPacket, 'bytes' | 'senderSid' | 'sequence' | 'order'>;

export type RoomDataOptions = {
  now: () => number;
  /** A packet of a participant was not passed on. */
  onDropped: (reason: DataDropReason) => void;
  /** Ack or response of a call that the server itself made. */
  onRpcPacket: (sender: LegIdentity, packet: Uint8Array) => void;
  /** A packet of a participant here, for those of the room who are on other nodes. */
  onPacket?: (packet: PeerPacket) => void;
};

type Numbered = { sequence: number; bytes: Uint8Array; packet: DataPacket };
type Entry = { member: DataMember; reliable: ReliableOrder<Numbered>; lastOrder: number };
type Spread = { order: number; atMs: number };

const replay = { maxAgeMs: 2000, maxBytes: 100_000 };
/** Calls of the server under way in one room; the host ends each within its response timeout. */
const maxInterceptedCalls = 10_000;
/** A leg that takes over cannot have packets that are older. */
const rememberSpreadMs = 60_000;
const maxSpread = 1000;
/** Left to packets that the former leg of a sender still takes in. */
const orderGap = 1000;

export class RoomData {
  readonly #options: RoomDataOptions;
  readonly #entries = new Map<LegId, Entry>();
  /** Last reliable packet of each sender that was delivered here. */
  readonly #spreadUpTo = new Map<string, Spread>();
  readonly #intercepted = new Set<string>();
  readonly #cache: ReplayCache;
  readonly #onRpcPacket: RoomDataOptions['onRpcPacket'];
  readonly #onDropped: RoomDataOptions['onDropped'];
  readonly #onPacket: RoomDataOptions['onPacket'];

  constructor(options: RoomDataOptions) {
    this.#options = options;
    this.#cache = new ReplayCache({ ...replay, now: options.now });
    this.#onRpcPacket = options.onRpcPacket;
    this.#onDropped = options.onDropped;
    this.#onPacket = options.onPacket;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Adds a member, which gets the reliable packets of the last two seconds before anything newer. */
  join(member: DataMember): void {
    this.#entries.set(member.legId, { member, reliable: new ReliableOrder(), lastOrder: 0 });
    for (const packet of this.#cache.recent()) {
      this.#replay(member, packet);
    }
  }

  leave(leg: LegId): void {
    this.#entries.delete(leg);
  }

  /** Last reliable sequence of this participant up to which all were passed on; 0 = none. It sends again what comes after. */
  resume(leg: LegId): number {
    const reliable = this.#entries.get(leg)?.reliable;
    reliable?.resumed(this.#options.now());
    return reliable?.last ?? 0;
  }

  /** The participant has no socket, until it resumes. */
  away(leg: LegId): void {
    this.#entries.get(leg)?.reliable.away();
  }

  /** Once a second: passes on what has waited long enough for packets that were to come before it. */
  passOverdue(leg: LegId): void {
    const entry = this.#entries.get(leg);
    if (entry !== undefined) {
      this.#passOn(entry, entry.reliable.overdue(this.#options.now()));
    }
  }

  /** How far data from and to this member has come. */
  progressOf(leg: LegId): HeldData {
    this.#forgetOldSpread(0);
    const entry = this.#entries.get(leg);
    const early = entry?.reliable.early() ?? [];
    return {
      lastReliableSequence: entry?.reliable.last ?? 0,
      lastOrder: entry?.lastOrder ?? 0,
      delivered: [...this.#spreadUpTo].map(([senderSid, { order }]) => ({ senderSid, order })),
      ...(early.length === 0 ? {} : { early: early.map(({ bytes }) => bytes) }),
    };
  }

  /** This member goes on where another leg of its participant was. */
  takeOver(leg: LegId, data: HeldData): void {
    const entry = this.#entries.get(leg);
    if (entry !== undefined) {
      const early = (data.early ?? []).flatMap((bytes) => {
        const packet = decodeDataPacket(bytes);
        return packet === undefined ? [] : [{ sequence: packet.sequence, bytes, packet }];
      });
      entry.reliable.continueAt(data.lastReliableSequence, early, this.#options.now());
      entry.lastOrder = data.lastOrder + orderGap;
    }
  }

  /** A message of a participant on one of the two well-known channels. */
  receive(senderLeg: LegId, kind: DataKind, bytes: Uint8Array): void {
    const entry = this.#entryOfSender(senderLeg, bytes);
    if (entry === undefined) {
      return;
    }
    const packet = decodeDataPacket(bytes);
    if (packet === undefined) {
      return this.#onDropped('malformed');
    }
    const { sequence } = packet;
    if (kind === 'lossy' || sequence === 0) {
      return this.#pass(packet, kind, entry);
    }
    const arrival = entry.reliable.add({ sequence, bytes, packet }, this.#options.now());
    if (arrival.kind === 'repeated') {
      return this.#onDropped('duplicate');
    }
    this.#passOn(entry, arrival.kind === 'due' ? arrival.packets : []);
  }

  /** A message on a channel of the application's own goes to all others as a user packet. */
  receiveUnlabelled(senderLeg: LegId, bytes: Uint8Array): void {
    const entry = this.#entryOfSender(senderLeg, bytes);
    if (entry === undefined) {
      return;
    }
    this.#pass(
      new DataPacket({ value: { case: 'user', value: new UserPacket({ payload: bytes }) } }),
      'reliable',
      entry,
    );
  }

  /** A packet of a data track; only its handle is changed. */
  receiveFrame(senderLeg: LegId, bytes: Uint8Array): void {
    const entry = this.#entryOfSender(senderLeg, bytes);
    const handle = frameHandle(bytes);
    const route = handle === undefined ? undefined : entry?.member.dataTracksOut.get(handle);
    if (entry === undefined || route === undefined || !entry.member.canPublishData) {
      return this.#onDropped(handle === undefined ? 'malformed' : 'not-allowed');
    }
    if (route.receivers === 0) {
      return;
    }
    const { roomName, participantSid } = entry.member.identity;
    const packet = withHandle(bytes, route.handle);
    if (this.#spreadFrame(packet) < route.receivers) {
      this.#onPacket?.({
        roomName,
        senderSid: participantSid,
        sequence: 0,
        order: 0,
        reliable: false,
        destinations: [participantSid],
        metrics: false,
        packet,
        isFrame: true,
      });
    }
  }

  /** A packet of a participant on another node, stamped and checked there. */
  receiveFromPeer(packet: PeerPacket): void {
    if (packet.isFrame === true) {
      this.#spreadFrame(packet.packet);
    } else {
      this.#spread(packet, 'remote');
    }
  }

  /** Reliable packets of participants here of the last moments, oldest first, for a node that just got part of the room. */
  recentOwn(): PeerPacket[] {
    return this.#cache.recent().flatMap(({ own }) => (own === undefined ? [] : [own]));
  }

  /** A packet of the server's own. @param recipients participant sids; empty = everybody. */
  sendFromServer(bytes: Uint8Array, kind: DataKind, recipients: readonly string[]): void {
    const packet = decodeDataPacket(bytes);
    if (packet === undefined) {
      return;
    }
    packet.kind = kind === 'reliable' ? DataPacket_Kind.RELIABLE : DataPacket_Kind.LOSSY;
    const only = recipients.length === 0 ? undefined : new Set(recipients);
    this.#deliver(kind, {
      bytes: packet.toBinary(),
      senderSid: '',
      sequence: packet.sequence,
      order: 0,
      accepts: (recipient) => only === undefined || only.has(recipient.participantSid),
    });
  }

  /** While active, ack and response of this call go to the host instead of to participants. */
  intercept(requestId: string, active: boolean): void {
    if (!active) {
      this.#intercepted.delete(requestId);
    } else if (this.#intercepted.size < maxInterceptedCalls) {
      this.#intercepted.add(requestId);
    }
  }

  /** A new host has no calls under way. */
  forgetIntercepted(): void {
    this.#intercepted.clear();
  }

  /** Undefined when there is none, or the bytes are too many. */
  #entryOfSender(sender: LegId, bytes: Uint8Array): Entry | undefined {
    const entry = this.#entries.get(sender);
    if (bytes.byteLength > maxDataPacketBytes) {
      this.#onDropped('too-large');
      return undefined;
    }
    return entry;
  }

  #passOn(sender: Entry, packets: readonly Numbered[]): void {
    for (const { packet } of packets) {
      this.#pass(packet, 'reliable', sender);
    }
  }

  #pass(packet: DataPacket, kind: DataKind, sender: Entry): void {
    const { identity, canPublishData } = sender.member;
    // One that must not be carried has its place in the order all the same.
    if (!canPublishData || !mayCarry(identity, packet)) {
      return this.#onDropped('not-allowed');
    }
    stamp(packet, identity, kind);
    const requestId = rpcRequestIdOf(packet);
    if (requestId !== undefined && this.#intercepted.has(requestId)) {
      return this.#onRpcPacket(identity, packet.toBinary());
    }
    this.#fanOut(packet, kind, sender);
  }

  #fanOut(packet: DataPacket, kind: DataKind, sender: Entry): void {
    const { roomName, participantSid } = sender.member.identity;
    sender.lastOrder += kind === 'reliable' ? 1 : 0;
    const encoded: PeerPacket = {
      roomName,
      senderSid: participantSid,
      sequence: packet.sequence,
      order: kind === 'reliable' ? sender.lastOrder : 0,
      reliable: kind === 'reliable',
      destinations: [...(destinationsOf(packet) ?? [])],
      metrics: packet.value.case === 'metrics',
      packet: packet.toBinary(),
    };
    this.#spread(encoded, 'own');
    if (this.#onPacket !== undefined && !this.#areAllHere(encoded.destinations)) {
      this.#onPacket(encoded);
    }
  }

  /** @returns how many receivers are here */
  #spreadFrame(packet: Uint8Array): number {
    const handle = frameHandle(packet) ?? 0;
    let receivers = 0;
    for (const { member } of this.#entries.values()) {
      if (member.isPresent && member.dataTracksIn.has(handle)) {
        receivers += 1;
        member.deliverFrame(packet);
      }
    }
    return receivers;
  }

  #areAllHere(destinations: readonly string[]): boolean {
    if (destinations.length === 0) {
      return false;
    }
    const present = [...this.#entries.values()].filter(({ member }) => member.isPresent);
    const identities = present.map(({ member }) => member.identity);
    const names = new Set(identities.flatMap(({ identity, participantSid }) => [identity, participantSid]));
    return destinations.every((name) => names.has(name));
  }

  #spread(packet: PeerPacket, origin: 'own' | 'remote'): void {
    const { senderSid, sequence, order, metrics } = packet;
    if (order > 0) {
      this.#noteSpread(senderSid, order);
    }
    const destinations = packet.destinations.length === 0 ? undefined : new Set<string>(packet.destinations);
    const accepts = (recipient: LegIdentity): boolean => {
      if (recipient.participantSid === senderSid || (metrics && recipient.canSubscribeMetrics !== true)) {
        return false;
      }
      // Clients know data packets since protocol 2.
      if (recipient.client.protocol < 2) {
        return false;
      }
      return (
        destinations === undefined || destinations.has(recipient.identity) || destinations.has(recipient.participantSid)
      );
    };
    this.#deliver(packet.reliable ? 'reliable' : 'lossy', {
      bytes: packet.packet,
      senderSid,
      sequence,
      order,
      accepts,
      ...(origin === 'own' ? { own: packet } : {}),
    });
  }

  #deliver(kind: DataKind, packet: CachedPacket): void {
    for (const { member } of this.#entries.values()) {
      if (packet.accepts(member.identity)) {
        member.deliver(kind, packet);
      }
    }
    if (kind === 'reliable') {
      this.#cache.add(packet);
    }
  }

  #noteSpread(senderSid: string, order: number): void {
    const known = this.#spreadUpTo.get(senderSid);
    if (known === undefined || order > known.order) {
      this.#spreadUpTo.delete(senderSid);
      this.#spreadUpTo.set(senderSid, { order, atMs: this.#options.now() });
      this.#forgetOldSpread(maxSpread);
    }
  }

  /** @param atLeast entries before it is worth the while */
  #forgetOldSpread(atLeast: number): void {
    if (this.#spreadUpTo.size <= atLeast) {
      return;
    }
    const oldestMs = this.#options.now() - rememberSpreadMs;
    for (const [senderSid, { atMs }] of this.#spreadUpTo) {
      if (atMs >= oldestMs) {
        return;
      }
      this.#spreadUpTo.delete(senderSid);
    }
  }

  #replay(member: DataMember, packet: CachedPacket): void {
    if (packet.accepts(member.identity)) {
      member.deliver('reliable', packet);
    }
  }
}
