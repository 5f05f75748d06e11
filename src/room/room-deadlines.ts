/** What is due: one function per kind of deadline. */
import type { ParticipantSid, TrackSid } from '../protocol/ids.ts';
import { backupTimedOut } from './backup-codecs.ts';
import { closeRoom } from './close-room.ts';
import { refreshToken } from './join.ts';
import { closeLeftLegs, removeParticipant } from './leave.ts';
import { retireOldLegs, switchTracks } from './move-tracks.ts';
import { holdTimedOut, moveTimedOut, successorsTimedOut } from './moving.ts';
import { connectionQualityDue, settleDynacast, speakersDue } from './quality-reports.ts';
import { keepsakesDue, legsCollected } from './restore.ts';
import { pruneDepartures } from './resume.ts';
import type { RoomState } from './room-state.ts';
import { rpcAckTimedOut, rpcTimedOut } from './rpc.ts';
import { forgetSavedParticipants } from './saved-room.ts';
import { fakeSpeakerEnds } from './signal-handlers.ts';
import { unknownTrackTimedOut } from './subscriptions.ts';
import { flushBatchedUpdates, sendRoomUpdate } from './updates.ts';

export function fireTimers(room: RoomState): void {
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
      room.relayFallback.failed(participant.identity, 0, room.nowMs);
      return removeParticipant(room, participant, 'join-timeout');
    case 'media':
      return removeParticipant(room, participant, 'connection-lost');
    case 'resumeAnswer':
      return removeParticipant(room, participant, 'state-mismatch');
    case 'refresh':
      return refreshToken(room, participant);
    case 'wish':
      return unknownTrackTimedOut(room, participant, detail);
    case 'backup':
      return backupTimedOut(room, participant, detail);
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
