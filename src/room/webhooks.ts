/** The events that a room tells to webhook receivers. */
import { ParticipantInfo, Room as RoomMessage, WebhookEvent } from '@livekit/protocol';
import type { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';
import type { Track } from './track.ts';

type RoomEventName = 'room_started' | 'room_finished';
type ParticipantEventName = 'participant_joined' | 'participant_left' | 'participant_connection_aborted';
type TrackEventName = 'track_published' | 'track_unpublished';

export function roomWebhook(room: RoomState, event: RoomEventName): void {
  push(room, event, { room: room.toMessage() });
}

export function participantWebhook(room: RoomState, event: ParticipantEventName, participant: Participant): void {
  push(room, event, { room: room.toMessage(), participant: participant.toInfo() });
}

/**
 * Track events are many, so they carry names and sids only unless the configuration asks for more. Receivers hear of no
 * track before they heard of its publisher: the media of a publisher may be there before it counts as joined.
 */
export function trackWebhook(room: RoomState, event: TrackEventName, track: Track): void {
  const { publisher } = track;
  if (!publisher.isActive) {
    return;
  }
  const full = room.settings.fullRoomInWebhooks;
  push(room, event, {
    room: full ? room.toMessage() : new RoomMessage({ sid: room.sid, name: room.name }),
    participant: new ParticipantInfo({ sid: publisher.sid, identity: publisher.identity }),
    track: track.info,
  });
}

type Payload = { room: RoomMessage; participant?: ParticipantInfo; track?: Track['info'] };

function push(room: RoomState, event: string, payload: Payload): void {
  const message = new WebhookEvent({
    event,
    id: `EV_${room.random()}`,
    createdAt: BigInt(Math.trunc(room.nowMs / 1000)),
    ...payload,
  });
  // The room goes on changing what is in it, tracks above all.
  room.outbox.push({ kind: 'webhook', event: message.clone() });
}
