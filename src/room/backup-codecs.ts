/** Subscribers that lack the codec of a track, and publishers that have another one for them. */
import { SubscriptionError, SubscriptionResponse } from '@livekit/protocol';
import type { TrackSid } from '../protocol/ids.ts';
import type { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';
import { timing } from './settings.ts';
import { subscriptionTo } from './subscriptions.ts';
import type { Track } from './track.ts';

/**
 * The client cannot receive what carries the track. A backup codec that the publisher announced is asked for by dynacast.
 * @returns false when there is none
 */
export function useBackup(room: RoomState, subscriber: Participant, track: Track, producerId: string): boolean {
  const { lacks } = subscriptionTo(subscriber, track);
  const refused = track.publication(producerId);
  if (refused === undefined || track.kind === 'audio') {
    return false;
  }
  lacks.add(track.codecOf(refused));
  if (track.codecFor(lacks) === undefined) {
    return false;
  }
  room.laterKeepsakes.add(subscriber);
  room.dirtyLegs.add(subscriber);
  room.timers.set(`backup:${subscriber.sid}:${track.sid}`, room.nowMs + timing.backupCodecTimeoutMs);
  settleBackup(room, track);
  return true;
}

/** A backup that somebody waits for is there. */
export function settleBackup(room: RoomState, track: Track): void {
  for (const { subscriptions } of room.participants.values()) {
    const lacks = subscriptions.get(track.sid)?.lacks;
    if (lacks !== undefined && lacks.size > 0 && track.regress(lacks, room.nowMs)) {
      room.markChanged(track.publisher);
      room.markAllLegsDirty();
    }
  }
}

/** The publisher did not begin to send the backup codec: its client may not do so at all. */
export function backupTimedOut(room: RoomState, subscriber: Participant, trackSid: string): void {
  const track = room.tracks.get(trackSid as TrackSid);
  const subscription = track === undefined ? undefined : subscriber.subscriptions.get(track.sid);
  if (track !== undefined && subscription !== undefined && track.sourceFor(subscription.lacks) === undefined) {
    refuseCodec(room, subscriber, track);
  }
}

export function refuseCodec(room: RoomState, subscriber: Participant, track: Track): void {
  room.outbox.sendTo(subscriber, {
    case: 'subscriptionResponse',
    value: new SubscriptionResponse({ trackSid: track.sid, err: SubscriptionError.SE_CODEC_UNSUPPORTED }),
  });
}
