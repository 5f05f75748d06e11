/** Who receives which track: wishes, permissions and settings turned into the wanted state of each leg. */
import {
  SubscriptionError,
  SubscriptionPermissionUpdate,
  SubscriptionResponse,
  TrackSource,
  TrackSubscribed,
} from '@livekit/protocol';
import type { TrackSid } from '../protocol/ids.ts';
import type { WantedSubscription } from '../protocol/leg-messages.ts';
import { chooseQuality, priorityOf, type TrackSettings } from '../quality/layers.ts';
import { nextLegOf } from './move-state.ts';
import { settleDataTracks } from './data-tracks.ts';
import type { Participant, Subscription, WantedOfLeg } from './participant.ts';
import { maySubscribe } from './permissions.ts';
import type { RoomState } from './room-state.ts';
import { bound, timing } from './settings.ts';
import { toQuality, type Track } from './track.ts';

/** A wish about tracks, from the client or the API. Tracks that nobody knows are waited for, if they are wanted. */
export function wishTracks(
  room: RoomState,
  subscriber: Participant,
  trackSids: Iterable<string>,
  subscribe: boolean,
): void {
  for (const sid of trackSids) {
    const track = room.tracks.get(sid as TrackSid);
    if (track !== undefined) {
      const subscription = subscriptionTo(subscriber, track);
      subscription.generation += !subscribe && subscription.wanted !== undefined ? 1 : 0;
      subscription.wish = subscribe;
      // A new wish is a new chance for a codec that the client refused.
      subscription.refusedProducerId = undefined;
      subscription.lacks.clear();
    } else if (!subscribe) {
      forgetUnknownWish(room, subscriber, sid);
    } else if (!subscriber.unknownWishes.has(sid) && subscriber.unknownWishes.size < bound.unknownWishes) {
      subscriber.unknownWishes.add(sid);
      room.timers.set(`wish:${subscriber.sid}:${sid}`, room.nowMs + timing.unknownTrackTimeoutMs);
    }
  }
  room.markWished(subscriber);
}

/** Nobody published the track within a minute. */
export function unknownTrackTimedOut(room: RoomState, subscriber: Participant, trackSid: string): void {
  if (subscriber.unknownWishes.delete(trackSid)) {
    room.laterKeepsakes.add(subscriber);
    room.outbox.sendTo(subscriber, {
      case: 'subscriptionResponse',
      value: new SubscriptionResponse({ trackSid, err: SubscriptionError.SE_TRACK_NOTFOUND }),
    });
  }
}

function forgetUnknownWish(room: RoomState, subscriber: Participant, trackSid: string): void {
  subscriber.unknownWishes.delete(trackSid);
  room.timers.clear(`wish:${subscriber.sid}:${trackSid}`);
}

export type SettingsRequest = {
  disabled: boolean;
  quality: number;
  width: number;
  height: number;
  fps: number;
  priority: number;
};

export function applySettings(
  room: RoomState,
  subscriber: Participant,
  trackSids: string[],
  request: SettingsRequest,
): void {
  const settings: TrackSettings = {
    disabled: request.disabled || toQuality(request.quality) === undefined,
    quality: toQuality(request.quality) ?? 0,
    width: request.width,
    height: request.height,
    fps: request.fps,
    priority: request.priority,
  };
  for (const sid of trackSids) {
    const track = room.tracks.get(sid as TrackSid);
    if (track !== undefined) {
      subscriptionTo(subscriber, track).settings = settings;
      room.markWished(subscriber);
    }
  }
}

/** `sync_state` lists the tracks that the client had disabled; their other settings stay. */
export function disableTracks(room: RoomState, subscriber: Participant, trackSids: string[]): void {
  for (const sid of trackSids) {
    const track = room.tracks.get(sid as TrackSid);
    if (track !== undefined) {
      const subscription = subscriptionTo(subscriber, track);
      const settings = subscription.settings ?? {
        disabled: true,
        quality: 2,
        width: 0,
        height: 0,
        fps: 0,
        priority: 0,
      };
      subscription.settings = { ...settings, disabled: true };
      room.markWished(subscriber);
    }
  }
}

/** A track that became public meets the wishes that waited for it. */
export function admitTrack(room: RoomState, track: Track): void {
  for (const subscriber of room.participants.values()) {
    if (subscriber.unknownWishes.has(track.sid)) {
      forgetUnknownWish(room, subscriber, track.sid);
      subscriptionTo(subscriber, track).wish = true;
      room.laterKeepsakes.add(subscriber);
    }
  }
  room.markAllLegsDirty();
}

/** The track is no longer public. */
export function dropTrack(room: RoomState, track: Track): void {
  for (const subscriber of room.participants.values()) {
    if (subscriber.subscriptions.delete(track.sid)) {
      room.dirtyLegs.add(subscriber);
    }
  }
}

/** The subscriber is gone: publishers may switch off what only it watched. */
export function dropSubscriber(room: RoomState, subscriber: Participant): void {
  for (const [sid, subscription] of subscriber.subscriptions) {
    room.timers.clear(`backup:${subscriber.sid}:${sid}`);
    const track = room.tracks.get(sid);
    if (subscription.wanted !== undefined && track !== undefined) {
      setDynacastWish(room, subscriber, track, undefined);
    }
  }
  for (const sid of subscriber.unknownWishes) {
    room.timers.clear(`wish:${subscriber.sid}:${sid}`);
  }
  subscriber.subscriptions.clear();
  subscriber.unknownWishes.clear();
}

export function subscriptionTo(subscriber: Participant, track: Track): Subscription {
  let subscription = subscriber.subscriptions.get(track.sid);
  if (subscription === undefined) {
    subscription = {
      wish: undefined,
      generation: 0,
      settings: undefined,
      toldAllowed: true,
      wanted: undefined,
      bound: false,
      successorId: undefined,
      lacks: new Set(),
      refusedProducerId: undefined,
    };
    subscriber.subscriptions.set(track.sid, subscription);
  }
  return subscription;
}

/** Once per track: somebody really receives it. */
export function tellSubscribed(room: RoomState, track: Track): void {
  if (!track.subscribedTold && track.publisher.connectionId !== undefined) {
    track.subscribedTold = true;
    room.laterKeepsakes.add(track.publisher);
    room.outbox.sendTo(track.publisher, {
      case: 'trackSubscribed',
      value: new TrackSubscribed({ trackSid: track.sid }),
    });
  }
}

/** True when somebody who is not hidden accepted the track. */
export function isReceived(room: RoomState, track: Track): boolean {
  for (const participant of room.participants.values()) {
    if (!participant.hidden && participant.subscriptions.get(track.sid)?.bound === true) {
      return true;
    }
  }
  return false;
}

/** True when the leg of `subscriber` is told to deliver at least one track of `publisher` that passes the filter. */
export function receivesFrom(subscriber: Participant, publisher: Participant, kind?: 'audio'): boolean {
  for (const track of publisher.tracks.values()) {
    if ((kind === undefined || track.kind === kind) && subscriber.subscriptions.get(track.sid)?.wanted !== undefined) {
      return true;
    }
  }
  return false;
}

/** Tells the leg what is wanted of it, when that differs from what it was told. */
export function reconcileLeg(room: RoomState, participant: Participant): void {
  const old = participant.wanted;
  if (old === undefined || participant.isGone) {
    return;
  }
  const next = computeWanted(room, participant, old.version + 1);
  if (!sameWanted(old, next)) {
    participant.wanted = next;
    room.outbox.toLeg({ kind: 'wanted', leg: participant.leg, wanted: next });
    const nextLeg = nextLegOf(participant.move);
    if (nextLeg !== undefined) {
      room.outbox.toLeg({ kind: 'wanted', leg: nextLeg, wanted: next });
    }
  }
}

/** What a leg has to do; also settles what the participant's client was told of permissions, and what publishers send. */
export function computeWanted(room: RoomState, participant: Participant, version: number): WantedOfLeg {
  const subscriptions: WantedSubscription[] = [];
  for (const track of room.tracks.values()) {
    const wanted = settleSubscription(room, participant, track);
    if (wanted !== undefined) {
      subscriptions.push(wanted);
    }
  }
  if (room.isCollecting) {
    // Its publisher may only be late: taking the track away now would interrupt it.
    subscriptions.push(
      ...(participant.wanted?.subscriptions.filter(({ trackSid }) => !room.tracks.has(trackSid)) ?? []),
    );
  }
  const dataTracks = settleDataTracks(room, participant);
  return {
    version,
    canSubscribe: participant.grants.canSubscribe,
    canPublishData: participant.grants.canPublishData,
    publications: [...participant.tracks.values()].map((track) => track.toWanted()),
    subscriptions,
    ...(dataTracks.length === 0 ? {} : { dataTracks }),
  };
}

function settleSubscription(room: RoomState, subscriber: Participant, track: Track): WantedSubscription | undefined {
  if (track.publisher === subscriber || track.publisher.hidden) {
    return undefined;
  }
  const subscription = subscriptionTo(subscriber, track);
  const allowed = maySubscribe(track.publisher.subscriptionRules, subscriber, track.sid);
  // Without a socket nothing can be told; the next reconcile after a resume makes up for it.
  if (allowed !== subscription.toldAllowed && subscriber.grants.canSubscribe && subscriber.connectionId !== undefined) {
    subscription.toldAllowed = allowed;
    room.laterKeepsakes.add(subscriber);
    sendPermission(room, subscriber, track, allowed);
  }
  const isWished = subscription.wish ?? subscriber.autoSubscribe;
  // Since protocol 8 clients take tracks in the very first offer; older ones are served once they are connected.
  const isReady = subscriber.isActive || subscriber.protocol > 7;
  const isWanted = isWished && allowed && isReady && subscriber.grants.canSubscribe;
  const wanted = isWanted ? toWantedSubscription(room, subscriber, track, subscription) : undefined;
  if (wanted?.producerId !== subscription.wanted?.producerId) {
    subscription.bound = false;
    subscription.refusedProducerId = undefined;
  }
  subscription.wanted = wanted;
  const isFlowing =
    isWanted && subscription.settings?.disabled !== true && subscription.refusedProducerId === undefined;
  const quality = chooseQuality(track.layers, subscription.settings, subscriber.adaptiveStream);
  setDynacastWish(room, subscriber, track, isFlowing ? quality : undefined);
  return wanted;
}

export function sendPermission(room: RoomState, subscriber: Participant, track: Track, allowed: boolean): void {
  room.outbox.sendTo(subscriber, {
    case: 'subscriptionPermissionUpdate',
    value: new SubscriptionPermissionUpdate({ participantSid: track.publisher.sid, trackSid: track.sid, allowed }),
  });
}

/** Browsers play the tracks of one stream in step; which track is which they then learn from `mid_to_track_id`. */
function streamIdOf(room: RoomState, subscriber: Participant, track: Track): string {
  const { sid } = track.publisher;
  if (subscriber.protocol === 0) {
    return sid;
  }
  const { stream } = track.info;
  return room.syncStreams && subscriber.protocol > 9 && stream !== '' ? `${sid}|${stream}` : `${sid}|${track.sid}`;
}

/** Keeps the old object when nothing changed, so that wanted states compare cheaply. */
function toWantedSubscription(
  room: RoomState,
  subscriber: Participant,
  track: Track,
  subscription: Subscription,
): WantedSubscription | undefined {
  const source = track.sourceFor(subscription.lacks);
  if (source === undefined) {
    return undefined;
  }
  const isMain = source === track.source;
  const { settings } = subscription;
  const next: WantedSubscription = {
    trackSid: track.sid,
    publisherSid: track.publisher.sid,
    streamId: streamIdOf(room, subscriber, track),
    kind: track.kind,
    producerId: source.producerId,
    home: source.home,
    paused: track.muted || settings?.disabled === true,
    quality: chooseQuality(track.layers, settings, subscriber.adaptiveStream),
    maxFps: settings?.fps ?? 0,
    priority: priorityOf(track.info.source === TrackSource.SCREEN_SHARE, settings?.priority ?? 0),
    ...(track.successor === undefined || !isMain ? {} : { successor: track.successor }),
    ...(track.predecessorId === undefined || !isMain ? {} : { predecessor: track.predecessorId }),
    ...(subscription.generation === 0 ? {} : { generation: subscription.generation }),
  };
  const old = subscription.wanted;
  return old !== undefined && sameSubscription(old, next) ? old : next;
}

/** Of one track: what never changes of it is not compared. */
function sameSubscription(a: WantedSubscription, b: WantedSubscription): boolean {
  return (
    a.producerId === b.producerId &&
    a.successor === b.successor &&
    a.predecessor === b.predecessor &&
    a.paused === b.paused &&
    a.quality === b.quality &&
    a.maxFps === b.maxFps &&
    a.priority === b.priority &&
    a.generation === b.generation
  );
}

function setDynacastWish(room: RoomState, subscriber: Participant, track: Track, quality: 0 | 1 | 2 | undefined): void {
  if (track.dynacast !== undefined) {
    const lacks = subscriber.subscriptions.get(track.sid)?.lacks ?? new Set();
    const codec = track.codecFor(lacks);
    track.dynacast.setWish(subscriber.sid, codec ?? track.primaryCodec, codec === undefined ? undefined : quality);
    room.dirtyDynacast.add(track);
  }
}

function sameWanted(a: WantedOfLeg, b: WantedOfLeg): boolean {
  return (
    a.canSubscribe === b.canSubscribe &&
    a.canPublishData === b.canPublishData &&
    JSON.stringify(a.dataTracks) === JSON.stringify(b.dataTracks) &&
    sameElements(a.publications, b.publications) &&
    sameElements(a.subscriptions, b.subscriptions)
  );
}

/** Parts are replaced, never changed, so identity is equality. */
function sameElements(a: unknown[], b: unknown[]): boolean {
  return a.length === b.length && a.every((element, index) => element === b[index]);
}
