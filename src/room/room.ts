/**
 * One room: the single writer of who is in it, what is published and who receives what. Pure: it is told events and the
 * time, and says what is to be done. It never looks into session descriptions and never touches media.
 */
import type { ConnectionId, ParticipantSid, RandomSuffix, RoomSid, TrackSid } from '../protocol/ids.ts';
import type { GatewayToHost, JoinParameters } from '../protocol/session-messages.ts';
import { closeRoom } from './close-room.ts';
import { handleCommand } from './commands.ts';
import type { RoomEffect, RoomEvent } from './events.ts';
import { applyRoomConfiguration, joinRoom, refreshToken } from './join.ts';
import { closeLeftLegs, removeParticipant, socketLost } from './leave.ts';
import { handleLeg } from './leg-handlers.ts';
import { scheduleEmptyRoom } from './lifetime.ts';
import { connectionQualityDue, settleDynacast, speakersDue } from './quality-reports.ts';
import { pruneDepartures, startResume } from './resume.ts';
import { retireOldLegs, switchTracks } from './move-tracks.ts';
import { holdTimedOut, movableLegs, moveTimedOut, performMove, successorsTimedOut, type MovableLeg } from './moving.ts';
import { isRevoked, refuseRevoked } from './revocations.ts';
import { RoomState } from './room-state.ts';
import { attachSocket, giveKeepsakes, keepsakesDue, legsCollected, restoreLegs } from './restore.ts';
import { rpcAckTimedOut, rpcTimedOut } from './rpc.ts';
import { forgetSavedParticipants, takeChangedParts, type SavedRoom } from './saved-room.ts';
import { timing, type RoomSettings } from './settings.ts';
import { fakeSpeakerEnds, handleSignal } from './signal-handlers.ts';
import { reconcileLeg, unknownTrackTimedOut } from './subscriptions.ts';
import { flushBatchedUpdates, flushRoomChange, flushUrgentUpdates, sendRoomUpdate } from './updates.ts';
import { roomWebhook } from './webhooks.ts';

export type RoomOptions = {
  name: string;
  settings: RoomSettings;
  random: RandomSuffix;
  nowMs: number;
  /** The join that creates the room, if one does: its token may configure the room. */
  createdBy?: JoinParameters;
  /** What an earlier host of the room left: it goes on, with the same sid. */
  saved?: SavedRoom;
};

export class Room {
  readonly #state: RoomState;

  constructor(options: RoomOptions) {
    const room = new RoomState(options);
    this.#state = room;
    if (options.createdBy?.roomConfiguration !== undefined && options.saved === undefined) {
      applyRoomConfiguration(room, options.createdBy.roomConfiguration);
    }
    if (options.saved !== undefined) {
      room.isCollecting = true;
      room.timers.set('collected', room.nowMs + timing.collectLegsMs);
      room.timers.set('restored', room.nowMs + timing.restoredMs);
    }
    scheduleEmptyRoom(room);
    room.roomChange = 'counters';
    if (options.saved === undefined) {
      roomWebhook(room, 'room_started');
    }
  }

  get name(): string {
    return this.#state.name;
  }

  get sid(): RoomSid {
    return this.#state.sid;
  }

  get isClosed(): boolean {
    return this.#state.closed !== undefined;
  }

  /** When the next `step` is due at the latest; undefined when nothing is planned. */
  deadlineMs(): number | undefined {
    return this.#state.timers.nextMs();
  }

  /** @param nowMs any clock whose values can be told to clients as Unix time; must not go back by much */
  step(event: RoomEvent, nowMs: number): RoomEffect[] {
    const room = this.#state;
    if (room.closed !== undefined) {
      return answerAfterClose(event);
    }
    room.nowMs = Math.max(room.nowMs, nowMs);
    fireTimers(room);
    if (this.isClosed) {
      // Its time was up just when this came: who asks gets an answer all the same.
      for (const effect of answerAfterClose(event)) {
        room.outbox.push(effect);
      }
    } else {
      handle(room, event);
    }
    settle(room);
    if (this.#state.closed !== undefined) {
      room.outbox.push({ kind: 'closed', reason: this.#state.closed });
    }
    return room.outbox.take();
  }

  /** Participants as the planner of moves sees them. */
  movableLegs(nowMs: number): MovableLeg[] {
    this.#state.nowMs = Math.max(this.#state.nowMs, nowMs);
    return movableLegs(this.#state);
  }

  /** For debugging and tests. */
  snapshot(): RoomSnapshot {
    const room = this.#state;
    return {
      name: room.name,
      sid: room.sid,
      closed: room.closed,
      metadata: room.metadata,
      timers: room.timers.size,
      tracks: room.tracks.size,
      connections: room.connections.size,
      departures: room.departures.length,
      pendingRpcs: room.rpcs.size,
      participants: [...room.participants.values()].map((participant) => ({
        sid: participant.sid,
        identity: participant.identity,
        state: participant.state,
        connectionId: participant.connectionId,
        iceLost: participant.iceLost,
        wantedVersion: participant.wanted?.version ?? 0,
        tracks: [...participant.tracks.values()].map((track) => ({
          sid: track.sid,
          isPublic: track.isPublic,
          muted: track.muted,
        })),
        subscriptions: [...participant.subscriptions]
          .filter(([, subscription]) => subscription.wanted !== undefined)
          .map(([sid, subscription]) => ({ trackSid: sid, bound: subscription.bound })),
      })),
    };
  }
}

export type RoomSnapshot = {
  name: string;
  sid: RoomSid;
  closed: string | undefined;
  metadata: string;
  timers: number;
  tracks: number;
  connections: number;
  departures: number;
  pendingRpcs: number;
  participants: {
    sid: ParticipantSid;
    identity: string;
    state: number;
    connectionId: ConnectionId | undefined;
    iceLost: boolean;
    wantedVersion: number;
    tracks: { sid: TrackSid; isPublic: boolean; muted: boolean }[];
    subscriptions: { trackSid: TrackSid; bound: boolean }[];
  }[];
};

function handle(room: RoomState, event: RoomEvent): void {
  switch (event.kind) {
    case 'gateway':
      return handleGateway(room, event.message);
    case 'leg':
      return handleLeg(room, event.message);
    case 'legsLost':
      for (const participant of room.participants.values()) {
        removeParticipant(room, participant, 'media-failed');
      }
      return;
    case 'shutdown':
      return closeRoom(room, 'shutdown', event.action === 'disconnect' ? 'shutdown' : 'moved');
    case 'move':
      return performMove(room, event.action);
    case 'restated':
      return restoreLegs(room, event.legs, event.isComplete);
    case 'moving':
      return keepsakesDue(room);
    case 'deadline':
      return;
  }
}

/** What came with a join, as if it were said right after it. */
function hearEarlyMessages(room: RoomState, connectionId: ConnectionId, join: JoinParameters): void {
  for (const message of join.earlyMessages ?? []) {
    const participant = room.connections.get(connectionId);
    if (participant?.connectionId === connectionId) {
      handleSignal(room, participant, message);
      // The leg has to know of announced tracks before the offer that carries them.
      reconcileLeg(room, participant);
    }
  }
}

function handleGateway(room: RoomState, message: GatewayToHost): void {
  switch (message.kind) {
    case 'join':
      if (isRevoked(room, message.join)) {
        return refuseRevoked(room, message.connectionId);
      }
      if (message.join.resume !== undefined) {
        return startResume(room, message.connectionId, message.join);
      }
      joinRoom(room, message.connectionId, message.join);
      return hearEarlyMessages(room, message.connectionId, message.join);
    case 'signal': {
      const participant = room.connections.get(message.connectionId);
      // What still comes from a socket that was replaced or closed is void.
      if (participant?.connectionId === message.connectionId) {
        handleSignal(room, participant, message.message);
      }
      return;
    }
    case 'socketClosed':
      return socketClosed(room, message.connectionId);
    case 'command':
      return handleCommand(room, message.requestId, message.command);
    case 'attach':
      return attachSocket(room, message.connectionId, message.participantSid);
    case 'superseded':
      // The shell lets go of the room.
      return;
  }
}

function socketClosed(room: RoomState, connectionId: ConnectionId): void {
  const participant = room.connections.get(connectionId);
  room.connections.delete(connectionId);
  for (const [sid, early] of room.earlySockets) {
    if (early === connectionId) room.earlySockets.delete(sid);
  }
  if (participant?.resuming === connectionId) {
    participant.resuming = undefined;
    room.timers.clear(`resumeAnswer:${participant.sid}`);
  } else if (participant?.connectionId === connectionId) {
    socketLost(room, participant);
  }
}

function fireTimers(room: RoomState): void {
  for (;;) {
    const key = room.timers.takeDue(room.nowMs);
    if (key === undefined) {
      return;
    }
    const { kind, id, detail } = splitTimerKey(key);
    fireRoomTimer(room, kind, id);
    const participant = room.participants.get(id as ParticipantSid);
    if (participant !== undefined) {
      fireParticipantTimer(room, kind, participant.sid, detail);
    }
  }
}

/** `kind:id:detail`; the detail may be any text that a client sent. */
function splitTimerKey(key: string): { kind: string; id: string; detail: string } {
  const [kind = '', id = '', ...rest] = key.split(':');
  return { kind, id, detail: rest.join(':') };
}

function fireRoomTimer(room: RoomState, kind: string, id: string): void {
  switch (kind) {
    case 'empty':
      return closeRoom(room, 'idle', 'room-idle');
    case 'leftLegs':
      return closeLeftLegs(room, false);
    case 'batch':
      return flushBatchedUpdates(room);
    case 'roomUpdate':
      return sendRoomUpdate(room);
    case 'departures':
      return pruneDepartures(room);
    case 'restored':
      return forgetSavedParticipants(room);
    case 'collected':
      return legsCollected(room);
    case 'keepsakes':
      return keepsakesDue(room);
    case 'speakers':
      return speakersDue(room);
    case 'quality':
      return room.participants.size === 0 ? undefined : connectionQualityDue(room);
    case 'dynacast': {
      const track = room.tracks.get(id as TrackSid);
      return track === undefined ? undefined : settleDynacast(room, track);
    }
    case 'moveSwitch':
      return switchTracks(room);
    case 'rpcAck':
      return rpcAckTimedOut(room, id);
    case 'rpc':
      return rpcTimedOut(room, id);
  }
}

function fireParticipantTimer(room: RoomState, kind: string, sid: ParticipantSid, detail: string): void {
  const participant = room.participants.get(sid);
  if (participant === undefined) {
    return;
  }
  switch (kind) {
    case 'join':
      return removeParticipant(room, participant, 'join-timeout');
    case 'media':
      return removeParticipant(room, participant, 'connection-lost');
    case 'resumeAnswer':
      return removeParticipant(room, participant, 'state-mismatch');
    case 'refresh':
      return refreshToken(room, participant);
    case 'wish':
      return unknownTrackTimedOut(room, participant, detail);
    case 'fakeSpeaker':
      return fakeSpeakerEnds(room, participant);
    case 'move':
      return moveTimedOut(room, participant);
    case 'moveReady':
      return successorsTimedOut(room, participant);
    case 'moveHold':
      return holdTimedOut(room, participant);
    case 'moveRetire':
      return retireOldLegs(room, participant);
  }
}

/** Clients hear of a track before the leg that delivers it does, so that its media finds a known track. */
function settle(room: RoomState): void {
  if (room.closed === undefined) {
    flushUrgentUpdates(room);
    for (const participant of room.dirtyLegs) {
      reconcileLeg(room, participant);
    }
    room.dirtyLegs.clear();
    for (const track of room.dirtyDynacast) {
      settleDynacast(room, track);
    }
    room.dirtyDynacast.clear();
    giveKeepsakes(room);
    const parts = takeChangedParts(room);
    if (parts.length > 0) {
      room.outbox.push({ kind: 'save', parts });
    }
    flushRoomChange(room);
  }
}

/** Late messages to a room that is over. */
function answerAfterClose(event: RoomEvent): RoomEffect[] {
  if (event.kind !== 'gateway') {
    return [];
  }
  const { message } = event;
  if (message.kind === 'join') {
    // The shell opens a new room for joins; one that still comes here is asked to try again.
    return [toGateway({ kind: 'refused', connectionId: message.connectionId, status: 503, body: 'room is closing' })];
  }
  if (message.kind === 'command') {
    const result = { ok: false, code: 'not_found', message: 'requested room does not exist' } as const;
    return [toGateway({ kind: 'commandResult', requestId: message.requestId, result })];
  }
  return [];
}

function toGateway(message: Extract<RoomEffect, { kind: 'toGateway' }>['message']): RoomEffect {
  return { kind: 'toGateway', message };
}
