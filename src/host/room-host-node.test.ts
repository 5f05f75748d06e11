import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, it } from 'node:test';
import {
  CreateRoomRequest,
  DeleteRoomRequest,
  LeaveRequest,
  LeaveRequest_Action,
  ListParticipantsRequest,
  ListParticipantsResponse,
  SignalRequest,
  SignalResponse,
} from '@livekit/protocol';
import { MemoryDirectory } from '../cluster/memory-directory.ts';
import { memoryLink } from '../cluster/memory-link.ts';
import type { Link } from '../cluster/link.ts';
import { createLog } from '../observe/log.ts';
import type { ConnectionId, LegId, NodeId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import type { GatewayToHost, HostToGateway, RoomCommand } from '../protocol/session-messages.ts';
import { Room } from '../room/room.ts';
import { countingSuffix, joinParameters, startMs, testSettings, type JoinOverrides } from '../room/room-test-kit.ts';
import type { CreateRoom } from './contracts.ts';
import { RoomHostNode } from './room-host-node.ts';

const nodeId = 'ND_test' as NodeId;
const connection = (name: string) => `CO_${name}` as ConnectionId;

/** A gateway that keeps what it receives. */
class TestGateway {
  readonly received: HostToGateway[] = [];
  readonly link: Link<GatewayToHost, HostToGateway>;

  constructor(link: Link<GatewayToHost, HostToGateway>) {
    this.link = link;
    link.onMessage((message) => this.received.push(message));
  }

  join(name: string, overrides: JoinOverrides = {}): void {
    const join = joinParameters(name, overrides);
    this.link.send({ kind: 'join', connectionId: connection(name), join });
  }

  command(requestId: number, roomName: string, command: RoomCommand): void {
    this.link.send({ kind: 'command', requestId, roomName, command });
  }

  /** Kinds of signal messages on a socket, in order. */
  signals(name: string): (string | undefined)[] {
    return this.received.flatMap((message) => {
      const isMine =
        (message.kind === 'accepted' && message.connectionId === connection(name)) ||
        (message.kind === 'send' && message.connectionIds.includes(connection(name)));
      return isMine ? [SignalResponse.fromBinary(message.message).message.case] : [];
    });
  }

  of<Kind extends HostToGateway['kind']>(kind: Kind): Extract<HostToGateway, { kind: Kind }>[] {
    return this.received.flatMap((message) =>
      message.kind === kind ? [message as Extract<HostToGateway, { kind: Kind }>] : [],
    );
  }
}

/** Legs that connect as soon as they are opened. */
class TestLegs {
  readonly received: HostToLeg[] = [];
  readonly link: Link<LegToHost, HostToLeg>;

  constructor(link: Link<LegToHost, HostToLeg>) {
    this.link = link;
    link.onMessage((message) => {
      this.received.push(message);
      if (message.kind === 'open') {
        const actual = {
          version: 1,
          publisher: 'connected',
          subscriber: 'connected',
          publications: [],
          subscriptions: [],
        } as const;
        link.send({ kind: 'actual', leg: message.leg, actual: { ...actual, publications: [], subscriptions: [] } });
      } else if (message.kind === 'resume') {
        link.send({ kind: 'resumed', leg: message.leg, lastReliableSequence: 3 });
      } else if (message.kind === 'close') {
        link.send({ kind: 'closed', leg: message.leg });
      }
    });
  }

  get opened(): LegId[] {
    return this.received.flatMap((message) => (message.kind === 'open' ? [message.leg] : []));
  }
}

/** Also after a failed test no timer of a room may keep the process. */
const hosts: RoomHostNode[] = [];
afterEach(() => hosts.splice(0).forEach((host) => host.close()));

function createHost(changes: { createRoom?: CreateRoom; settings?: Partial<typeof testSettings> } = {}) {
  const directory = new MemoryDirectory({ nodeId, now: () => performance.now(), link: { transfer: structuredClone } });
  const webhooks: string[] = [];
  const host = new RoomHostNode({
    settings: { ...testSettings, ...changes.settings },
    registrar: directory,
    webhooks: { publish: ({ event }) => webhooks.push(event) },
    signRefreshToken: (token) => Promise.resolve(`token of ${token.identity}`),
    random: countingSuffix(),
    log: createLog({ level: 'error', json: true }).child({}, { level: 'silent' }),
    ...(changes.createRoom === undefined ? {} : { createRoom: changes.createRoom }),
  });
  hosts.push(host);
  directory.attachHost((link) => host.acceptGateway(link));
  const [hostEnd, legEnd] = memoryLink<HostToLeg, LegToHost>({ transfer: structuredClone });
  host.attachLegs(hostEnd);
  const legs = new TestLegs(legEnd);
  const connect = () => new TestGateway(directory.connect(nodeId));
  return { host, directory, webhooks, legs, connect };
}

/** Lets messages travel until the condition holds; fails with what is missing. */
async function until(complaint: () => string): Promise<void> {
  const deadlineMs = performance.now() + 3_000;
  for (let missing = complaint(); missing !== ''; missing = complaint()) {
    assert.ok(performance.now() < deadlineMs, missing);
    await turn();
  }
}

const has = (list: readonly unknown[], wanted: unknown): string =>
  list.includes(wanted) ? '' : `${String(wanted)} not in ${list.join()}`;
const empty = { rooms: 0, participants: 0, connections: 0, legs: 0, gateways: 0, pendingCommands: 0, failedRooms: 0 };
const goodbye = new SignalRequest({ message: { case: 'leave', value: new LeaveRequest() } }).toBinary();

describe('RoomHostNode', () => {
  it('joins clients of several gateways into one room and signs their refresh tokens', async () => {
    const { host, directory, legs, webhooks, connect } = createHost();
    const [first, second] = [connect(), connect()];
    first.join('alice');
    second.join('bob');
    await until(
      () =>
        has(first.signals('alice'), 'update') ||
        has(second.signals('bob'), 'refreshToken') ||
        has(first.signals('alice'), 'refreshToken'),
    );
    assert.equal(first.signals('alice')[0], 'join');
    assert.equal(second.signals('bob')[0], 'join');
    assert.equal(legs.opened.length, 2);
    assert.equal((await directory.list([])).length, 1);
    assert.deepEqual(webhooks, ['room_started', 'participant_joined', 'participant_joined']);
    const { rooms, participants, connections, gateways } = host.stats();
    assert.deepEqual([rooms, participants, connections, gateways], [1, 2, 2, 2]);
    host.close();
    assert.deepEqual({ ...host.stats(), gateways: 0 }, empty);
  });

  it('leaves nothing behind when everybody has left and the departure timeout is over', async () => {
    const { host, directory, connect } = createHost({ settings: { departureTimeoutS: 0.02 } });
    const gateway = connect();
    const names = ['alice', 'bob', 'carol'];
    for (const name of names) {
      gateway.join(name);
    }
    await until(() => (host.stats().participants === 3 ? '' : 'three participants'));
    for (const name of names) {
      gateway.link.send({ kind: 'signal', connectionId: connection(name), message: goodbye });
    }
    await until(() => (host.stats().rooms === 0 ? '' : 'the room is still there'));
    gateway.link.close();
    await until(() => (host.stats().gateways === 0 ? '' : 'the gateway is still there'));
    assert.deepEqual(host.stats(), empty);
    assert.equal(directory.size, 0);
    assert.deepEqual(host.snapshot(), []);
    host.close();
  });

  it('answers commands of two gateways under their own numbers', async () => {
    const { host, connect } = createHost();
    const [first, second] = [connect(), connect()];
    const create = { method: 'CreateRoom', request: new CreateRoomRequest({ name: 'one' }).toBinary() } as const;
    const list = {
      method: 'ListParticipants',
      request: new ListParticipantsRequest({ room: 'none' }).toBinary(),
    } as const;
    first.command(7, 'one', create);
    second.command(7, 'none', list);
    second.command(8, 'none', { method: 'DeleteRoom', request: new DeleteRoomRequest({ room: 'none' }).toBinary() });
    await until(() => (first.received.length > 0 && second.received.length > 1 ? '' : 'answers'));
    assert.deepEqual(
      first.of('commandResult').map((message) => [message.requestId, message.result.ok]),
      [[7, true]],
    );
    const [listed, deleted] = second.of('commandResult');
    assert.ok(listed?.result.ok === true);
    assert.deepEqual(ListParticipantsResponse.fromBinary(listed.result.response).participants, []);
    assert.deepEqual(deleted?.result, { ok: false, code: 'not_found', message: 'requested room does not exist' });
    assert.equal(host.stats().rooms, 1);
    host.close();
  });

  it('detaches the clients of a lost gateway, who resume through another', async () => {
    const { host, connect } = createHost();
    const [first, second] = [connect(), connect()];
    first.join('alice');
    await until(() => has(first.signals('alice'), 'update'));
    const sid = host.snapshot()[0]?.participants[0]?.sid ?? '';
    first.link.close();
    await until(() =>
      host.snapshot()[0]?.participants[0]?.connectionId === undefined ? '' : 'alice is still attached',
    );
    second.join('alice', { resume: { participantSid: sid, reason: 1 } });
    await until(() => has(second.signals('alice'), 'roomUpdate'));
    assert.equal(second.signals('alice')[0], 'reconnect');
    host.close();
  });

  it('refuses the resume of a room that is gone without making one', async () => {
    const { host, connect } = createHost();
    const gateway = connect();
    gateway.join('alice', { resume: { participantSid: 'PA_x', reason: 1 } });
    await until(() => has(gateway.signals('alice'), 'leave'));
    assert.deepEqual({ ...host.stats(), gateways: 0 }, empty);
    host.close();
  });

  it('closes a room that throws, tells its clients to come back, and leaves other rooms alone', async () => {
    let isBroken = false;
    const random = countingSuffix();
    const createRoom: CreateRoom = ({ name, nowMs }) => {
      const room = new Room({ name, nowMs, settings: testSettings, random });
      if (name === 'good') {
        return room;
      }
      return {
        name,
        step: (event, atMs) => {
          if (isBroken) {
            throw new Error('broken on purpose');
          }
          return room.step(event, atMs);
        },
        deadlineMs: () => room.deadlineMs(),
        snapshot: () => room.snapshot(),
        movableLegs: (atMs) => room.movableLegs(atMs),
      };
    };
    const { host, directory, legs, connect } = createHost({ createRoom });
    const gateway = connect();
    gateway.join('alice', { roomName: 'bad' });
    gateway.join('bob', { roomName: 'good' });
    await until(() => has(gateway.signals('alice'), 'update') || has(gateway.signals('bob'), 'update'));
    isBroken = true;
    gateway.command(3, 'bad', { method: 'DeleteRoom', request: new DeleteRoomRequest().toBinary() });
    await until(() => has(gateway.signals('alice'), 'leave'));
    const frame = gateway
      .of('send')
      .map((message) => SignalResponse.fromBinary(message.message).message)
      .findLast((message) => message.case === 'leave');
    assert.equal(frame?.case === 'leave' ? frame.value.action : undefined, LeaveRequest_Action.RECONNECT);
    await until(() =>
      gateway.of('closeSocket').length === 1 && gateway.of('commandResult').length === 1
        ? ''
        : 'socket and command end',
    );
    assert.deepEqual(gateway.of('commandResult')[0]?.result, { ok: false, code: 'internal', message: 'room failed' });
    assert.equal(legs.received.filter((message) => message.kind === 'close').length, 1);
    const { rooms, failedRooms, participants } = host.stats();
    assert.deepEqual([rooms, failedRooms, participants], [1, 1, 1]);
    assert.equal(await directory.locate('bad'), undefined);
    gateway.link.send({ kind: 'signal', connectionId: connection('bob'), message: goodbye });
    await until(() => (host.stats().participants === 0 ? '' : 'bob is still there'));
    host.close();
  });

  it('makes everybody come back when the legs are lost, and nobody waits without legs', async () => {
    const { host, legs, connect } = createHost();
    const gateway = connect();
    gateway.join('alice');
    await until(() => has(gateway.signals('alice'), 'update'));
    legs.link.close();
    await until(() => has(gateway.signals('alice'), 'leave'));
    gateway.join('bob');
    await until(() => has(gateway.signals('bob'), 'leave'));
    host.close();
  });

  it('drains until the last room is finished, and gives up when told', async () => {
    const { host, connect } = createHost({ settings: { departureTimeoutS: 0.02 } });
    await host.drain(AbortSignal.timeout(1_000));
    const gateway = connect();
    gateway.join('alice');
    await until(() => has(gateway.signals('alice'), 'update'));
    const reason = new Error('enough');
    await assert.rejects(host.drain(AbortSignal.abort(reason)), reason);
    const drained = host.drain(AbortSignal.timeout(3_000));
    gateway.link.send({ kind: 'signal', connectionId: connection('alice'), message: goodbye });
    await drained;
    assert.equal(host.stats().rooms, 0);
    host.close();
    host.close();
  });

  it('says goodbye when it closes and takes nobody any more', async () => {
    const { host, connect } = createHost();
    const gateway = connect();
    gateway.join('alice');
    await until(() => has(gateway.signals('alice'), 'update'));
    host.close();
    await until(() => has(gateway.signals('alice'), 'leave'));
    let isClosed = false;
    connect().link.onClose(() => {
      isClosed = true;
    });
    await until(() => (isClosed ? '' : 'the new link is open'));
    assert.deepEqual(host.stats(), empty);
  });
});

describe('the time of a room', () => {
  it('is told by one timer', async () => {
    const { host, connect } = createHost({ settings: { emptyTimeoutS: 0.03 } });
    const gateway = connect();
    gateway.command(1, 'lobby', { method: 'CreateRoom', request: new CreateRoomRequest({ name: 'lobby' }).toBinary() });
    await until(() => (host.stats().rooms === 1 ? '' : 'the room'));
    assert.ok(Date.now() > startMs);
    await until(() => (host.stats().rooms === 0 ? '' : 'the empty room is still there'));
    host.close();
  });
});
