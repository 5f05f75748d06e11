import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { CreateRoomRequest, ListParticipantsRequest, SignalResponse, type WebhookEvent } from '@livekit/protocol';
import { until } from '../../test/kit/until.ts';
import type { RoomGrant, RoomOwnership } from '../cluster/directory.ts';
import { memoryLink } from '../cluster/memory-link.ts';
import { storeAway } from '../cluster/store-errors.ts';
import { lostLink } from '../cluster/watched-link.ts';
import { createLog } from '../observe/log.ts';
import type { ConnectionId, NodeId } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import type { GatewayToHost, HostToGateway, RoomCommand } from '../protocol/session-messages.ts';
import { countingSuffix, joinParameters, testSettings } from '../room/room-test-kit.ts';
import type { LegPlacer } from './leg-links.ts';
import { RoomHostNode } from './room-host-node.ts';

const hosts: RoomHostNode[] = [];
afterEach(() => hosts.splice(0).forEach((host) => host.close()));

/** A host whose store answers what the test says; its legs never answer. */
function createHost(
  grant: () => RoomGrant | Error,
  { legPlacer, holdsStatements = false }: { legPlacer?: LegPlacer; holdsStatements?: boolean } = {},
) {
  const statements: (() => void)[] = [];
  let lose: (roomName: string) => void = () => undefined;
  const calls: string[] = [];
  const state = { epoch: 0, mayAct: true, saved: Promise.resolve(), voice: (): void => undefined };
  const webhooks: WebhookEvent[] = [];
  const ownership: RoomOwnership = {
    acquire: (roomName) => {
      calls.push(`acquire ${roomName}`);
      const answer = grant();
      if (answer instanceof Error) return Promise.reject(answer);
      state.epoch = answer.kind === 'owned' ? answer.epoch : 0;
      return Promise.resolve(answer);
    },
    publish: () => undefined,
    save: () => undefined,
    release: (roomName) => calls.push(`release ${roomName}`),
    stated: () => (holdsStatements ? new Promise((resolve) => statements.push(resolve)) : Promise.resolve()),
    epochOf: () => state.epoch,
    mayAct: () => state.mayAct,
    onVoice: (listener) => (state.voice = listener),
    saved: () => state.saved,
    handOver: () => Promise.resolve('ND_next' as NodeId),
    superseded: (roomName, epoch) => calls.push(`superseded ${roomName} ${epoch}`),
    onLost: (lost) => (lose = lost),
  };
  const host = new RoomHostNode({
    settings: testSettings,
    registrar: ownership,
    ownership,
    ...(legPlacer === undefined ? {} : { legPlacer }),
    webhooks: { publish: (event) => webhooks.push(event) },
    signRefreshToken: () => Promise.resolve('token'),
    random: countingSuffix(),
    log: createLog({ level: 'silent', json: true }),
  });
  hosts.push(host);
  const [legs, legEnd] = memoryLink<HostToLeg, LegToHost>();
  // A node without legs of any room.
  legEnd.onMessage((message) => {
    if (message.kind === 'restate') legEnd.send({ kind: 'restatedAll', roomName: message.roomName });
  });
  host.attachLegs(legs);
  const received: { message: HostToGateway; epoch: number | undefined }[] = [];
  const [gateway, end] = memoryLink<GatewayToHost, HostToGateway>({ transfer: structuredClone });
  // The memory link carries no epochs, so they are taken where they are sent.
  host.acceptGateway({
    send: (message, epoch) => received.push({ message: structuredClone(message), epoch }),
    onMessage: (receive) => end.onMessage(receive),
    onClose: (closed) => end.onClose(closed),
    close: () => end.close(),
  });
  const join = (name: string): void =>
    gateway.send({ kind: 'join', connectionId: `CO_${name}` as ConnectionId, join: joinParameters(name) });
  const command = (method: RoomCommand['method'], request: Uint8Array): void =>
    gateway.send({ kind: 'command', requestId: 1, roomName: 'lobby', command: { method, request } });
  const answers = (): string[] => received.map(({ message }) => message.kind);
  const lost = (): void => lose('lobby');
  return { host, received, calls, state, webhooks, join, command, answers, gateway, statements, lose: lost };
}

const owned = (): RoomGrant => ({ kind: 'owned', epoch: 7, parts: undefined });

describe('a room host in a cluster', () => {
  it('asks for a room once for all who come, and speaks under its epoch', async () => {
    const { join, answers, calls, received } = createHost(owned);
    join('alice');
    join('bob');
    await until(() =>
      answers().filter((kind) => kind === 'accepted').length === 2 ? '' : `answers: ${answers().join()}`,
    );
    assert.deepEqual(calls, ['acquire lobby']);
    assert.ok(received.filter(({ message }) => message.kind === 'accepted').every(({ epoch }) => epoch === 7));
  });

  it('answers a command when the store has what it changed', async () => {
    const { command, answers, statements } = createHost(owned, { holdsStatements: true });
    command('CreateRoom', new CreateRoomRequest({ name: 'lobby' }).toBinary());
    await until(() => (statements.length === 1 ? '' : `${statements.length} statements are waited for`));
    assert.deepEqual(answers(), []);
    statements[0]?.();
    await until(() => (answers().join() === 'commandResult' ? '' : answers().join()));
  });

  it('sends joins on that are not for it, and says 503 while the store is away', async () => {
    const elsewhere = createHost(() => ({ kind: 'elsewhere' }));
    elsewhere.join('alice');
    await until(() => (elsewhere.answers().includes('notHere') ? '' : 'no answer'));
    const away = createHost(() => storeAway());
    away.join('alice');
    await until(() => (away.answers().includes('refused') ? '' : 'no answer'));
    const message = away.received[0]?.message;
    assert.ok(message?.kind === 'refused' && message.status === 503 && /does not answer/.test(message.body));
    assert.deepEqual(away.host.stats().rooms, 0);
  });

  it('does not answer a client that went away while the store was asked', async () => {
    const { join, gateway, answers, calls, host } = createHost(owned);
    join('alice');
    gateway.send({ kind: 'socketClosed', connectionId: 'CO_alice' as ConnectionId, cause: 'client-closed' });
    await until(() => (calls.length === 1 && host.stats().rooms === 1 ? '' : 'not opened'));
    assert.deepEqual(answers(), []);
    assert.equal(host.stats().participants, 0);
  });

  it('leaves a lost room without an end: clients are to join anew, nobody hears that it finished', async () => {
    const { join, answers, webhooks, received, lose, host, calls } = createHost(owned);
    join('alice');
    await until(() => (answers().includes('accepted') ? '' : 'no answer'));
    const before = webhooks.length;
    lose();
    assert.deepEqual(received.at(-1), { message: { kind: 'roomLost', roomName: 'lobby' }, epoch: undefined });
    assert.deepEqual(host.stats().rooms, 0);
    assert.deepEqual(host.stats().legs, 0);
    assert.equal(webhooks.length, before);
    assert.equal(calls.includes('release lobby'), false);
  });

  it('gives its rooms away before it ends, and takes none from then on', async () => {
    const { join, answers, host } = createHost(owned);
    join('alice');
    await until(() => (answers().includes('accepted') ? '' : 'no answer'));
    await host.moveRooms();
    assert.equal(answers().at(-1), 'roomLost');
    join('bob');
    await until(() => (answers().at(-1) === 'notHere' ? '' : `answers: ${answers().join()}`));
  });

  it('makes no room that the store does not know: only masters place, under the limits', async () => {
    const { join, command, answers, received, host } = createHost(() => ({ kind: 'missing' }));
    join('alice');
    await until(() => (answers().includes('notHere') ? '' : `answers: ${answers().join()}`));
    command('CreateRoom', new CreateRoomRequest({ name: 'lobby' }).toBinary());
    await until(() => (answers().includes('commandResult') ? '' : `answers: ${answers().join()}`));
    const { message } = received.at(-1) ?? {};
    assert.ok(message?.kind === 'commandResult' && !message.result.ok && message.result.code === 'unavailable');
    assert.equal(host.stats().rooms, 0);
  });

  it('refuses those who want to join with 503 while no node can take them, and takes them when one can', async () => {
    let complaint: string | undefined;
    const legPlacer: LegPlacer = {
      choose: () => testSettings.nodeId as NodeId,
      complaint: () => complaint,
      connect: () => lostLink(),
    };
    const { join, answers, received } = createHost(owned, { legPlacer });
    join('alice');
    await until(() => (answers().includes('accepted') ? '' : `answers: ${answers().join()}`));
    complaint = 'no media node can take another participant';
    join('bob');
    await until(() => (answers().includes('refused') ? '' : `answers: ${answers().join()}`));
    const refusal = received.find(({ message }) => message.kind === 'refused')?.message;
    assert.ok(refusal?.kind === 'refused' && refusal.status === 503);
    assert.equal(refusal.body, complaint);
    complaint = undefined;
    join('carol');
    await until(() =>
      answers().filter((kind) => kind === 'accepted').length === 2 ? '' : `answers: ${answers().join()}`,
    );
  });

  it('opens a room for commands that may make it, and for others when it is its own', async () => {
    const created = createHost(owned);
    created.command('CreateRoom', new CreateRoomRequest({ name: 'lobby' }).toBinary());
    await until(() => (created.answers().includes('commandResult') ? '' : 'no answer'));
    assert.deepEqual(created.calls, ['acquire lobby']);
    const missing = createHost(() => ({ kind: 'missing' }));
    missing.command('DeleteRoom', new ListParticipantsRequest({ room: 'lobby' }).toBinary());
    await until(() => (missing.answers().includes('commandResult') ? '' : 'no answer'));
    assert.deepEqual(missing.calls, ['acquire lobby']);
    const message = missing.received[0]?.message;
    assert.ok(message?.kind === 'commandResult' && !message.result.ok && message.result.code === 'not_found');
  });

  it('goes on with a room that another host left, without starting it again', async () => {
    const sid = 'RM_former';
    const parts = new Map([['room', new TextEncoder().encode(JSON.stringify({ sid, metadata: 'kept' }))]]);
    const { join, received, webhooks, answers } = createHost(() => ({ kind: 'owned', epoch: 8, parts }));
    join('alice');
    await until(() => (answers().includes('accepted') ? '' : 'no answer'));
    const message = received[0]?.message;
    assert.ok(message?.kind === 'accepted');
    const first = SignalResponse.fromBinary(message.message).message;
    const room = first.case === 'join' ? first.value.room : undefined;
    assert.deepEqual([room?.sid, room?.metadata], [sid, 'kept']);
    assert.deepEqual(webhooks, []);
  });

  it('says and does nothing while it may not act, and all of it when it may again', async () => {
    const { join, answers, state, host } = createHost(owned);
    join('alice');
    await until(() => (answers().includes('accepted') ? '' : 'no answer'));
    const before = answers().length;
    state.mayAct = false;
    join('bob');
    join('carol');
    await until(() => (host.stats().connections === 3 ? '' : 'they have not come'));
    assert.equal(answers().length, before);
    state.mayAct = true;
    state.voice();
    assert.equal(answers().filter((kind) => kind === 'accepted').length, 3);
  });

  it('tells the first client of a new room its sid only when that is saved', async () => {
    const { join, answers, state, host } = createHost(owned);
    const { promise, resolve } = Promise.withResolvers<void>();
    state.saved = promise;
    join('alice');
    await until(() => (host.stats().connections === 1 ? '' : 'the room is not open'));
    assert.deepEqual(answers(), []);
    resolve();
    await until(() => (answers().includes('accepted') ? '' : 'no answer'));
  });

  it('sends back what clients and callers still say to a room that it is giving away', async () => {
    const { join, command, gateway, answers, received, state, host } = createHost(owned);
    join('alice');
    await until(() => (answers().includes('accepted') ? '' : 'no answer'));
    state.mayAct = false;
    const say = (text: string): void =>
      gateway.send({ kind: 'signal', connectionId: 'CO_alice' as ConnectionId, message: Buffer.from(text) });
    say('before');
    command('ListParticipants', new ListParticipantsRequest({ room: 'lobby' }).toBinary());
    await until(() => (host.stats().pendingCommands === 1 ? '' : 'the command has not come'));
    const from = received.length;
    await host.moveRooms();
    assert.deepEqual(
      received.slice(from).map(({ message }) => message.kind),
      ['roomLost', 'returned', 'commandResult'],
    );
    const [lost, , result] = received.slice(from).map(({ message }) => message);
    assert.equal(lost?.kind === 'roomLost' && lost.nodeId, 'ND_next');
    assert.equal(result?.kind === 'commandResult' && !result.result.ok && result.result.meta?.['reason'], 'not-here');
    say('after');
    await until(() =>
      answers().filter((kind) => kind === 'returned').length === 2 ? '' : `answers: ${answers().join()}`,
    );
  });

  it('lets go of a room when somebody knows of a later host', async () => {
    const { join, answers, gateway, calls } = createHost(owned);
    join('alice');
    await until(() => (answers().includes('accepted') ? '' : 'no answer'));
    gateway.send({ kind: 'superseded', roomName: 'lobby', epoch: 8 });
    await until(() => (calls.includes('superseded lobby 8') ? '' : calls.join()));
  });
});
