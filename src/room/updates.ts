/** What to tell whom: participant updates, room updates, and messages whose content depends on what a receiver hears. */
import { RoomUpdate } from '@livekit/protocol';
import type { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';
import { bound, timing } from './settings.ts';
import type { Change } from './update-queue.ts';
import { encodeUpdate } from './wire.ts';

/** livekit clients read messages of any size; smaller ones let a slow socket breathe between them. */
const maxUpdateBytes = 128 * 1024;

/**
 * Something about a participant changed that others can see. In large rooms comings of non-publishers wait half a second,
 * and details (a mute, a name) until the last message is some time ago; whom a detail is about hears of it at once. Tracks
 * never wait: clients must know them before their media comes.
 */
export function participantChanged(
  room: RoomState,
  participant: Participant,
  what: 'tracks' | 'detail' | 'coming' = 'tracks',
): void {
  participant.touch();
  room.dirtySaves.add(participant);
  room.dueKeepsakes.add(participant);
  const change: Change = { kind: 'changed', participant };
  if (room.participants.size < bound.largeRoom || what === 'tracks' || (what === 'coming' && participant.isPublisher)) {
    queue(room, change, 'now');
    return;
  }
  const spacedMs = what === 'detail' ? room.updatesToldAtMs + detailSpacingMs(room) : Number.POSITIVE_INFINITY;
  if (what === 'detail' && spacedMs > room.nowMs) {
    sendInfos(room, [participant], [change]);
  }
  queue(room, change, spacedMs <= room.nowMs ? 'now' : Math.min(spacedMs, room.nowMs + timing.updateBatchMs));
}

function detailSpacingMs(room: RoomState): number {
  const forAllMs = room.participants.size * timing.detailSpacingPerPersonMs;
  return Math.min(Math.max(forAllMs, timing.detailSpacingMs), timing.longestDetailSpacingMs);
}

/** @param replaced the same identity is joining again */
export function participantLeft(room: RoomState, participant: Participant, replaced: boolean): void {
  if (participant.hidden) {
    return;
  }
  const info = participant.infoBytes();
  room.departures.push({ atMs: room.nowMs, identity: participant.identity, info });
  if (room.departures.length > bound.departures) {
    room.departures.shift();
  }
  if (!room.timers.has('departures')) {
    room.timers.set('departures', room.nowMs + timing.missedSignalMs);
  }
  const urgent = replaced || room.participants.size < bound.largeRoom;
  queue(room, { kind: 'left', participant, info, replaced }, urgent ? 'now' : room.nowMs + timing.updateBatchMs);
}

/** @param due when it has to be told at the latest */
function queue(room: RoomState, change: Change, due: 'now' | number): void {
  room.updates.add(change, due === 'now');
  if (due !== 'now' && room.updates.hasBatched && due < (room.timers.at('batch') ?? Number.POSITIVE_INFINITY)) {
    room.timers.set('batch', due);
  }
}

/** What waits goes along: one message costs a receiver less than two. */
export function flushUrgentUpdates(room: RoomState): void {
  if (room.updates.hasUrgent) {
    room.timers.clear('batch');
    tell(room, [...room.updates.takeBatched(), ...room.updates.takeUrgent()]);
  }
}

export function flushBatchedUpdates(room: RoomState): void {
  tell(room, room.updates.takeBatched());
}

function tell(room: RoomState, changes: Change[]): void {
  if (changes.length === 0) {
    return;
  }
  room.updatesToldAtMs = room.nowMs;
  const visible = changes.filter((change) => !change.participant.hidden);
  const modern = visible.filter((change) => change.kind === 'changed' || !change.replaced);
  const receivers = [...room.participants.values()].filter((participant) => participant.connectionId !== undefined);
  if (modern.length === visible.length) {
    sendInfos(room, receivers, visible);
  } else {
    // Since protocol 12 clients replace a participant by its identity; telling them that the old one left would end the new one.
    sendInfos(
      room,
      receivers.filter((receiver) => receiver.protocol > 11),
      modern,
    );
    sendInfos(
      room,
      receivers.filter((receiver) => receiver.protocol <= 11),
      visible,
    );
  }
  for (const change of changes) {
    if (change.kind === 'changed' && change.participant.hidden) {
      sendInfos(room, [change.participant], [change]);
    }
  }
}

function sendInfos(room: RoomState, receivers: Participant[], changes: Change[]): void {
  sendInfoBytes(
    room,
    receivers,
    changes.map((change) => (change.kind === 'left' ? change.info : change.participant.infoBytes())),
  );
}

/** Splits what would become one huge message. */
export function sendInfoBytes(room: RoomState, receivers: Participant[], infos: Uint8Array[]): void {
  let part: Uint8Array[] = [];
  let sizeBytes = 0;
  for (const info of infos) {
    if (part.length > 0 && sizeBytes + info.length > maxUpdateBytes) {
      room.outbox.sendBytes(receivers, encodeUpdate(part));
      part = [];
      sizeBytes = 0;
    }
    part.push(info);
    sizeBytes += info.length;
  }
  if (part.length > 0) {
    room.outbox.sendBytes(receivers, encodeUpdate(part));
  }
}

/** Metadata and recording state reach everybody at once, counters within five seconds; the directory hears of each. */
export function flushRoomChange(room: RoomState): void {
  if (room.roomChange === 'none') {
    return;
  }
  const change = room.roomChange;
  room.roomChange = 'none';
  const message = room.toMessage().toBinary();
  if (room.toldRoom !== undefined && sameBytes(room.toldRoom, message)) {
    return;
  }
  room.toldRoom = message;
  room.outbox.push({ kind: 'publishRoom', room: message });
  if (change === 'metadata') {
    sendRoomUpdate(room);
  } else if (!room.timers.has('roomUpdate')) {
    room.timers.set('roomUpdate', room.nowMs + timing.roomUpdateMs);
  }
}

export function sendRoomUpdate(room: RoomState): void {
  room.timers.clear('roomUpdate');
  room.outbox.send(room.participants.values(), {
    case: 'roomUpdate',
    value: new RoomUpdate({ room: room.toVersionedMessage() }),
  });
}

export function countersChanged(room: RoomState): void {
  if (room.roomChange === 'none') {
    room.roomChange = 'counters';
  }
}

/**
 * Splits receivers by which of the subjects concern them, so that those who get the same message share its encoding.
 * @param concerns whether a subject is of interest to a receiver
 */
export function groupByAudience<Subject>(
  receivers: Iterable<Participant>,
  subjects: Subject[],
  concerns: (receiver: Participant, subject: Subject) => boolean,
): { receivers: Participant[]; subjects: Subject[] }[] {
  const groups = new Map<string, { receivers: Participant[]; subjects: Subject[] }>();
  for (const receiver of receivers) {
    if (receiver.connectionId === undefined) {
      continue;
    }
    const indexes = subjects.flatMap((subject, index) => (concerns(receiver, subject) ? index : []));
    if (indexes.length === 0) {
      continue;
    }
    const key = indexes.join(',');
    const group = groups.get(key);
    if (group === undefined) {
      groups.set(key, { receivers: [receiver], subjects: indexes.flatMap((index) => subjects[index] ?? []) });
    } else {
      group.receivers.push(receiver);
    }
  }
  return [...groups.values()];
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
