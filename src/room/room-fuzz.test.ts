import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AddTrackRequest,
  LeaveRequest,
  MuteTrackRequest,
  SignalRequest,
  SignalResponse,
  SimulateScenario,
  SubscriptionPermission,
  SyncState,
  TrackPermission,
  UpdateParticipantMetadata,
  UpdateSubscription,
  UpdateTrackSettings,
  type ParticipantInfo,
} from '@livekit/protocol';
import fc from 'fast-check';
import {
  participantOfLeg,
  type ConnectionId,
  type LegId,
  type NodeId,
  type ParticipantSid,
  type TrackSid,
} from '../protocol/ids.ts';
import type { LegFailure, WantedLeg } from '../protocol/leg-messages.ts';
import type { RoomMethod } from '../protocol/session-messages.ts';
import type { RoomEffect, RoomEvent } from './events.ts';
import { Room } from './room.ts';
import { countingSuffix, joinParameters, startMs, testSettings } from './room-test-kit.ts';

const identities = ['a', 'b', 'c', 'd'];
const cids = ['mic', 'cam', 'screen'];
const sids = Array.from({ length: 40 }, (_, index) => `TR_AM${String(index).padStart(12, '0')}`);
const anySid = fc.constantFrom(...sids, 'TR_unknown', 'x:y:z', '');
const connectionIds = Array.from({ length: 30 }, (_, index) => `CO_${index}` as ConnectionId);
const legs = Array.from({ length: 60 }, (_, index) => `PA_${String(index).padStart(12, '0')}` as ParticipantSid);
const transport = fc.oneof(
  { weight: 6, arbitrary: fc.constant('connected' as const) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('new' as const, 'connecting' as const, 'disconnected' as const, 'failed' as const),
  },
);

const signal: fc.Arbitrary<Uint8Array> = fc
  .oneof(
    fc
      .record({
        cid: fc.constantFrom(...cids),
        type: fc.nat(3),
        source: fc.nat(5),
        sid: fc.oneof(fc.constant(''), anySid),
      })
      .map((value) => ({ case: 'addTrack', value: new AddTrackRequest(value) }) as const),
    fc
      .record({ sid: anySid, muted: fc.boolean() })
      .map((value) => ({ case: 'mute', value: new MuteTrackRequest(value) }) as const),
    fc
      .record({ trackSids: fc.array(anySid, { maxLength: 4 }), subscribe: fc.boolean() })
      .map((value) => ({ case: 'subscription', value: new UpdateSubscription(value) }) as const),
    fc
      .record({
        trackSids: fc.array(anySid, { maxLength: 4 }),
        quality: fc.nat(5),
        width: fc.nat(2_000),
        height: fc.nat(2_000),
        disabled: fc.boolean(),
      })
      .map((value) => ({ case: 'trackSetting', value: new UpdateTrackSettings(value) }) as const),
    fc
      .record({
        allParticipants: fc.boolean(),
        participantIdentity: fc.constantFrom(...identities),
        allTracks: fc.boolean(),
      })
      .map(
        ({ allParticipants, ...entry }) =>
          ({
            case: 'subscriptionPermission',
            value: new SubscriptionPermission({ allParticipants, trackPermissions: [new TrackPermission(entry)] }),
          }) as const,
      ),
    fc
      .record({ name: fc.string(), attributes: fc.dictionary(fc.string(), fc.string()) })
      .map((value) => ({ case: 'updateMetadata', value: new UpdateParticipantMetadata(value) }) as const),
    fc
      .array(anySid, { maxLength: 3 })
      .map((trackSidsDisabled) => ({ case: 'syncState', value: new SyncState({ trackSidsDisabled }) }) as const),
    fc
      .constantFrom('disconnectSignalOnResume', 'disconnectSignalOnResumeNoMessages', 'nodeFailure', 'migration')
      .map(
        (name) =>
          ({ case: 'simulate', value: new SimulateScenario({ scenario: { case: name, value: true } }) }) as const,
      ),
    fc
      .boolean()
      .map((isGoodbye) => ({ case: 'leave', value: new LeaveRequest({ action: isGoodbye ? 0 : 1 }) }) as const),
    fc
      .constantFrom(...cids)
      .map((cid) => ({ case: 'addTrack', value: new AddTrackRequest({ cid, type: 1 }) }) as const),
    fc
      .constantFrom(...cids)
      .map((cid) => ({ case: 'addTrack', value: new AddTrackRequest({ cid, type: 0 }) }) as const),
  )
  .map((message) => new SignalRequest({ message }).toBinary());

const garbage = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc.tuple(signal, fc.nat(20)).map(([bytes, cut]) => bytes.subarray(0, Math.max(0, bytes.length - cut))),
);

const publication = fc
  .record({ trackSid: fc.constantFrom(...sids), cid: fc.constantFrom(...cids), generation: fc.nat(2) })
  .map(({ trackSid, cid, generation }) => ({
    trackSid: trackSid as TrackSid,
    cid,
    sdpCid: cid,
    producerId: `${trackSid}.${generation}`,
    home: { nodeId: 'ND_test' as NodeId, workerIndex: 0 },
    mid: '0',
    mimeType: 'audio/opus',
    svc: false,
    layers: [],
  }));

const methods: RoomMethod[] = [
  'CreateRoom',
  'ListParticipants',
  'GetParticipant',
  'RemoveParticipant',
  'MutePublishedTrack',
  'UpdateParticipant',
  'UpdateSubscriptions',
  'SendData',
  'UpdateRoomMetadata',
  'PerformRpc',
];

const failures: LegFailure[] = [
  'worker-died',
  'ice-lost',
  'ice-lost',
  'dtls-failed',
  'negotiation-failed',
  'data-channel-stuck',
  'internal',
];

type Move = { event: RoomEvent; passMs: number; pick: number };

const anyEvent: fc.Arbitrary<RoomEvent> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({
        connectionId: fc.constantFrom(...connectionIds),
        identity: fc.constantFrom(...identities),
        protocol: fc.constantFrom(3, 7, 9, 11, 12, 17),
        hidden: fc.boolean(),
        recorder: fc.boolean(),
        resume: fc.option(fc.constantFrom(...legs), { nil: undefined }),
      })
      .map(({ connectionId, identity, protocol, hidden, recorder, resume }): RoomEvent => {
        const join = joinParameters(identity, {
          client: { protocol },
          grants: { hidden: hidden && recorder, recorder: recorder && !hidden },
          ...(resume === undefined ? {} : { resume: { participantSid: resume, reason: 0 } }),
        });
        return { kind: 'gateway', message: { kind: 'join', connectionId, join } };
      }),
  },
  {
    weight: 16,
    arbitrary: fc
      .record({
        connectionId: fc.constantFrom(...connectionIds),
        message: fc.oneof({ weight: 20, arbitrary: signal }, { weight: 1, arbitrary: garbage }),
      })
      .map(({ connectionId, message }): RoomEvent => ({
        kind: 'gateway',
        message: { kind: 'signal', connectionId, message },
      })),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...connectionIds).map((connectionId): RoomEvent => ({
      kind: 'gateway',
      message: { kind: 'socketClosed', connectionId, cause: 'client-closed' },
    })),
  },
  {
    weight: 16,
    arbitrary: fc
      .record({
        leg: fc.constantFrom(...legs),
        publisher: transport,
        subscriber: transport,
        publications: fc.array(publication, { minLength: 1, maxLength: 3 }),
      })
      .map(({ leg, ...rest }): RoomEvent => ({
        kind: 'leg',
        message: { kind: 'actual', leg, actual: { version: 1, subscriptions: [], ...rest } },
      })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ leg: fc.constantFrom(...legs), failure: fc.constantFrom(...failures) })
      .map(({ leg, failure }): RoomEvent => ({ kind: 'leg', message: { kind: 'failed', leg, failure, detail: '' } })),
  },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom(...legs)
      .map((leg): RoomEvent => ({ kind: 'leg', message: { kind: 'resumed', leg, lastReliableSequence: 1 } })),
  },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.record({ trackSid: fc.constantFrom(...sids), levelDbov: fc.integer({ min: -5, max: 140 }) }), {
        maxLength: 4,
      })
      .map((levels): RoomEvent => ({
        kind: 'leg',
        message: { kind: 'levels', roomName: 'lobby', levels: levels as { trackSid: TrackSid; levelDbov: number }[] },
      })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({
        requestId: fc.nat(1_000),
        method: fc.constantFrom(...methods),
        request: fc.uint8Array({ maxLength: 40 }),
      })
      .map(({ requestId, method, request }): RoomEvent => ({
        kind: 'gateway',
        message: { kind: 'command', requestId, roomName: 'lobby', command: { method, request } },
      })),
  },
  { weight: 1, arbitrary: fc.constant<RoomEvent>({ kind: 'deadline' }) },
);

const move: fc.Arbitrary<Move> = fc.record({
  event: anyEvent,
  passMs: fc.oneof(fc.constant(0), fc.nat(500), fc.nat(500), fc.nat(6_000)),
  pick: fc.nat(1_000),
});

/** Aims an event at somebody who is really there, most of the time: random sids alone would rarely meet anybody. */
function aim(room: Room, { event, pick }: Move): RoomEvent {
  const { participants } = room.snapshot();
  const target = participants[pick % Math.max(participants.length, 1)];
  if (target === undefined || pick % 20 === 0) {
    return event;
  }
  if (event.kind === 'leg' && 'leg' in event.message) {
    const message = { ...event.message, leg: target.sid };
    if (message.kind === 'actual') {
      const publications = message.actual.publications.map((entry, index) => {
        const track = target.tracks[(pick + index) % Math.max(target.tracks.length, 1)];
        return track === undefined ? entry : { ...entry, trackSid: track.sid };
      });
      const subscriptions = target.subscriptions.map(({ trackSid }) => ({
        trackSid,
        producerId: `${trackSid}.1`,
        state: 'bound' as const,
      }));
      message.actual = { ...message.actual, publications, subscriptions };
    }
    return { kind: 'leg', message };
  }
  if (event.kind === 'gateway' && (event.message.kind === 'signal' || event.message.kind === 'socketClosed')) {
    const connectionId = target.connectionId ?? event.message.connectionId;
    const message = { ...event.message, connectionId };
    if (message.kind === 'signal') {
      const real = participants.flatMap((participant) => participant.tracks.map((track) => track.sid));
      message.message = nameTracks(message.message, real, pick);
    }
    return { kind: 'gateway', message };
  }
  if (event.kind === 'gateway' && event.message.kind === 'join' && event.message.join.resume !== undefined) {
    const join = {
      ...event.message.join,
      identity: target.identity,
      resume: { participantSid: target.sid, reason: 0 },
    };
    return { kind: 'gateway', message: { ...event.message, join } };
  }
  return event;
}

/** Puts sids of existing tracks into a signal message. */
function nameTracks(bytes: Uint8Array, real: string[], pick: number): Uint8Array {
  const sid = real[pick % Math.max(real.length, 1)];
  if (sid === undefined || pick % 5 === 0) {
    return bytes;
  }
  let request: SignalRequest;
  try {
    request = SignalRequest.fromBinary(bytes);
  } catch {
    return bytes;
  }
  const { message } = request;
  if (message.case === 'mute') {
    message.value.sid = sid;
  } else if (message.case === 'subscription' || message.case === 'trackSetting') {
    message.value.trackSids = [sid, ...message.value.trackSids];
  } else if (message.case === 'syncState') {
    message.value.trackSidsDisabled = [sid];
  } else if (message.case === 'addTrack' && message.value.sid !== '') {
    message.value.sid = sid;
  }
  return request.toBinary();
}

/** What must hold whatever happens. */
class Invariants {
  readonly #open = new Set<ConnectionId>();
  readonly #gone = new Map<ConnectionId, Set<string>>();
  readonly #versions = new Map<ConnectionId, Map<string, number>>();
  readonly #wanted = new Map<LegId, number>();
  readonly #announced = new Map<ConnectionId, Set<string>>();
  readonly #sockets = new Map<ParticipantSid, ConnectionId>();
  closed = false;

  check(effects: RoomEffect[]): void {
    for (const effect of effects) {
      assert.equal(this.closed, false, `${effect.kind} after closed`);
      if (effect.kind === 'toGateway') {
        this.#checkGateway(effect.message);
      } else if (effect.kind === 'toLeg') {
        this.#checkLeg(effect.message);
      } else if (effect.kind === 'closed') {
        this.closed = true;
      }
    }
  }

  #checkGateway(message: Extract<RoomEffect, { kind: 'toGateway' }>['message']): void {
    switch (message.kind) {
      case 'accepted':
        this.#open.add(message.connectionId);
        this.#gone.set(message.connectionId, new Set());
        this.#versions.set(message.connectionId, new Map());
        this.#announced.set(message.connectionId, new Set());
        return this.#checkMessage(message.connectionId, message.message);
      case 'send':
        for (const connectionId of message.connectionIds) {
          assert.ok(this.#open.has(connectionId), `message to a socket that is not open: ${connectionId}`);
          this.#checkMessage(connectionId, message.message);
        }
        return;
      case 'closeSocket':
        assert.ok(this.#open.delete(message.connectionId), `closed twice: ${message.connectionId}`);
        return;
      case 'refused':
      case 'commandResult':
        return;
      case 'attached':
        assert.ok(!this.#open.has(message.connectionId), `attached twice: ${message.connectionId}`);
        this.#open.add(message.connectionId);
        return;
      case 'notHere':
      case 'roomLost':
      case 'legHome':
      case 'returned':
        assert.fail(`${message.kind} is not a room's to say`);
    }
  }

  #checkMessage(connectionId: ConnectionId, bytes: Uint8Array): void {
    const { message } = SignalResponse.fromBinary(bytes);
    if (message.case === 'join') {
      const sid = message.value.participant?.sid ?? '';
      this.#sockets.set(sid as ParticipantSid, connectionId);
      message.value.otherParticipants.forEach((info) => this.#checkInfo(connectionId, info));
    } else if (message.case === 'update') {
      message.value.participants.forEach((info) => this.#checkInfo(connectionId, info));
    }
  }

  #checkInfo(connectionId: ConnectionId, info: ParticipantInfo): void {
    const gone = this.#gone.get(connectionId);
    const versions = this.#versions.get(connectionId);
    assert.ok(info.state === 3 || gone?.has(info.sid) !== true, `update of ${info.sid} after its DISCONNECTED`);
    if (info.state === 3) {
      gone?.add(info.sid);
    }
    assert.ok(info.version >= (versions?.get(info.sid) ?? 0), `version of ${info.sid} went back`);
    versions?.set(info.sid, info.version);
    info.tracks.forEach((track) => this.#announced.get(connectionId)?.add(track.sid));
  }

  #checkLeg(message: Extract<RoomEffect, { kind: 'toLeg' }>['message']): void {
    if (message.kind === 'open') {
      assert.equal(this.#wanted.has(message.leg), false, 'opened twice');
      this.#checkWanted(message.leg, message.wanted);
    } else if (message.kind === 'wanted') {
      assert.ok(message.wanted.version > (this.#wanted.get(message.leg) ?? Infinity), 'versions grow');
      this.#checkWanted(message.leg, message.wanted);
    } else if (message.kind === 'close') {
      assert.ok(this.#wanted.delete(message.leg), 'closed a leg that is not open');
    } else if ('leg' in message) {
      assert.ok(this.#wanted.has(message.leg), `${message.kind} to a leg that is not open`);
    }
  }

  #checkWanted(leg: LegId, wanted: WantedLeg): void {
    this.#wanted.set(leg, wanted.version);
    const connectionId = this.#sockets.get(participantOfLeg(leg));
    if (connectionId !== undefined && this.#open.has(connectionId)) {
      for (const { trackSid } of wanted.subscriptions) {
        assert.ok(
          this.#announced.get(connectionId)?.has(trackSid),
          `${trackSid} is wanted before its client heard of it`,
        );
      }
    }
  }

  /** The gateway says that a socket is gone. */
  socketGone(connectionId: ConnectionId): void {
    this.#open.delete(connectionId);
  }
}

describe('a room under arbitrary events', () => {
  it('never throws and keeps its promises', () => {
    fc.assert(
      fc.property(fc.array(move, { minLength: 150, maxLength: 250 }), (moves) => {
        const room = new Room({ name: 'lobby', settings: testSettings, random: countingSuffix(), nowMs: startMs });
        const invariants = new Invariants();
        const used = new Set<ConnectionId>();
        let connections = 0;
        let nowMs = startMs;
        for (const next of moves) {
          nowMs += next.passMs;
          let event = aim(room, next);
          if (event.kind === 'gateway' && event.message.kind === 'join') {
            // Sockets are never used twice.
            const connectionId = `CO_${connections}` as ConnectionId;
            connections += 1;
            used.add(connectionId);
            event = { kind: 'gateway', message: { ...event.message, connectionId } };
          }
          const effects = room.step(event, nowMs);
          if (!invariants.closed) {
            invariants.check(effects);
          }
          if (event.kind === 'gateway' && event.message.kind === 'socketClosed') {
            invariants.socketGone(event.message.connectionId);
          }
          assert.equal(room.isClosed, invariants.closed);
          assert.ok(!room.isClosed || room.deadlineMs() === undefined, 'a closed room has no deadline');
        }
        empty(room, nowMs, invariants);
      }),
      { numRuns: 100 },
    );
  });
});

/** Everybody goes; what is left must end by itself and hold nothing. */
function empty(room: Room, startedMs: number, invariants: Invariants): void {
  let nowMs = startedMs;
  for (const { sid } of room.snapshot().participants) {
    const effects = room.step(
      { kind: 'leg', message: { kind: 'failed', leg: sid, failure: 'internal', detail: '' } },
      nowMs,
    );
    if (!invariants.closed) {
      invariants.check(effects);
    }
  }
  for (let rounds = 0; room.deadlineMs() !== undefined; rounds += 1) {
    assert.ok(rounds < 1_000, 'timers end');
    nowMs = Math.max(nowMs, room.deadlineMs() ?? nowMs);
    invariants.check(room.step({ kind: 'deadline' }, nowMs));
  }
  assert.equal(invariants.closed, true);
  const { participants, tracks, timers, connections, departures, pendingRpcs } = room.snapshot();
  assert.deepEqual([participants.length, tracks, timers, connections, departures, pendingRpcs], [0, 0, 0, 0, 0, 0]);
}
