/**
 * Data tracks: a participant's named streams of frames on its `_data_track` channel, and who receives them. Each has one
 * number (handle) of its publisher's and one that all of its receivers share, so that a frame is written once for all.
 */
import {
  DataTrackInfo,
  DataTrackSubscriberHandles,
  DataTrackSubscriberHandles_PublishedDataTrack,
  PublishDataTrackResponse,
  RequestResponse_Reason,
  UnpublishDataTrackResponse,
  type PublishDataTrackRequest,
  type SyncState,
  type UnpublishDataTrackRequest,
  type UpdateDataSubscription,
} from '@livekit/protocol';
import type { WantedDataTrack } from '../protocol/leg-messages.ts';
import type { Participant } from './participant.ts';
import { maySubscribe } from './permissions.ts';
import { respond, type EchoedRequest } from './request-response.ts';
import type { RoomState } from './room-state.ts';
import { bound } from './settings.ts';
import { participantChanged } from './updates.ts';

export type DataTrack = {
  readonly info: DataTrackInfo;
  readonly publisher: Participant;
  /** By which its receivers know it. */
  readonly handle: number;
};

const maxHandle = 0xffff;
const maxNameLength = 256;

export function publishDataTrack(room: RoomState, publisher: Participant, request: PublishDataTrackRequest): void {
  const refusal = refuse(room, publisher, request);
  if (refusal !== undefined) {
    respond(room, publisher, { ...refusal, request: { case: 'publishDataTrack', value: request } });
    return;
  }
  const { pubHandle, name, encryption, frameEncoding, schema } = request;
  const info = new DataTrackInfo({ pubHandle, sid: `DTR_${room.random()}`, name, encryption });
  if (frameEncoding !== undefined) {
    info.frameEncoding = frameEncoding;
  }
  if (schema !== undefined) {
    info.schema = schema;
  }
  const track: DataTrack = { info, publisher, handle: freeHandle(room) };
  publisher.dataTracks.set(pubHandle, track);
  room.dataTracks.set(info.sid, track);
  room.outbox.sendTo(publisher, { case: 'publishDataTrackResponse', value: new PublishDataTrackResponse({ info }) });
  for (const other of room.participants.values()) {
    if (other.autoSubscribeDataTracks) {
      room.markWished(other);
    }
  }
  changed(room, publisher);
}

type Refusal = { reason: RequestResponse_Reason; message: string };

function refuse(room: RoomState, publisher: Participant, request: PublishDataTrackRequest): Refusal | undefined {
  const reason = RequestResponse_Reason;
  const { pubHandle, name } = request;
  const tracks = [...publisher.dataTracks.values()];
  if (!publisher.grants.canPublishData) {
    return { reason: reason.NOT_ALLOWED, message: 'publishing data is not allowed' };
  }
  if (!room.settings.enableDataTracks) {
    return { reason: reason.UNSUPPORTED_TYPE, message: 'data tracks are not enabled' };
  }
  if (pubHandle < 1 || pubHandle > maxHandle) {
    return { reason: reason.INVALID_HANDLE, message: `a handle is a number from 1 to ${maxHandle}` };
  }
  if (name === '' || name.length > maxNameLength) {
    return { reason: reason.INVALID_NAME, message: `a name has 1 to ${maxNameLength} characters` };
  }
  if (publisher.dataTracks.has(pubHandle)) {
    return { reason: reason.DUPLICATE_HANDLE, message: 'the handle is taken' };
  }
  if (tracks.some(({ info }) => info.name === name)) {
    return { reason: reason.DUPLICATE_NAME, message: 'the name is taken' };
  }
  if (tracks.length >= bound.dataTracks || room.dataTracks.size >= maxHandle) {
    return { reason: reason.LIMIT_EXCEEDED, message: `a participant may publish ${bound.dataTracks} data tracks` };
  }
  return undefined;
}

export function unpublishDataTrack(room: RoomState, publisher: Participant, request: UnpublishDataTrackRequest): void {
  const track = publisher.dataTracks.get(request.pubHandle);
  if (track === undefined) {
    const echo: EchoedRequest = { case: 'unpublishDataTrack', value: request };
    const reason = RequestResponse_Reason.NOT_FOUND;
    respond(room, publisher, { reason, message: 'no data track has this handle', request: echo });
    return;
  }
  unpublish(room, track);
  changed(room, publisher);
}

/** Those that a participant may publish no more. */
export function withdrawDataTracks(room: RoomState, publisher: Participant): void {
  if (!publisher.grants.canPublishData) {
    for (const track of publisher.dataTracks.values()) {
      unpublish(room, track);
    }
  }
}

function unpublish(room: RoomState, track: DataTrack): void {
  endDataTrack(room, track);
  const value = new UnpublishDataTrackResponse({ info: track.info });
  room.outbox.sendTo(track.publisher, { case: 'unpublishDataTrackResponse', value });
}

export function endDataTrack(room: RoomState, { info, publisher }: DataTrack): void {
  publisher.dataTracks.delete(info.pubHandle);
  room.dataTracks.delete(info.sid);
  for (const other of room.participants.values()) {
    if (other.dataWishes.delete(info.sid) || other.toldDataTracks.has(info.sid)) {
      room.markWished(other);
    }
  }
}

/** The publishers of what it received have one receiver less. */
export function dropDataSubscriber(room: RoomState, subscriber: Participant): void {
  for (const sid of subscriber.toldDataTracks) {
    const publisher = room.dataTracks.get(sid)?.publisher;
    if (publisher !== undefined) {
      room.dirtyLegs.add(publisher);
    }
  }
}

/** An unknown track is passed over: it ended a moment ago. */
export function updateDataSubscription(
  room: RoomState,
  subscriber: Participant,
  { updates }: Pick<UpdateDataSubscription, 'updates'>,
): void {
  for (const { trackSid, subscribe } of updates) {
    const track = room.dataTracks.get(trackSid);
    if (track !== undefined && track.publisher !== subscriber) {
      subscriber.dataWishes.set(trackSid, subscribe);
      room.dirtyLegs.add(track.publisher);
    }
  }
  room.markWished(subscriber);
}

/** @returns false when the client believes in a data track that nobody knows here */
export function applyDataSyncState(room: RoomState, participant: Participant, state: SyncState): boolean {
  if (state.publishDataTracks.some(({ info }) => info !== undefined && !room.dataTracks.has(info.sid))) {
    return false;
  }
  if (state.dataSubscription !== undefined) {
    updateDataSubscription(room, participant, state.dataSubscription);
  }
  return true;
}

/** What a leg does for data tracks; also tells the client which it receives, when that changed. */
export function settleDataTracks(room: RoomState, participant: Participant): WantedDataTrack[] {
  if (room.dataTracks.size === 0 && participant.toldDataTracks.size === 0) {
    return [];
  }
  const received = [...room.dataTracks.values()].filter((track) => isReceived(track, participant));
  const isTold =
    received.length === participant.toldDataTracks.size &&
    received.every(({ info }) => participant.toldDataTracks.has(info.sid));
  if (!isTold) {
    participant.toldDataTracks = new Set(received.map(({ info }) => info.sid));
    tellDataHandles(room, participant);
  }
  const others = [...room.participants.values()];
  return [
    ...received.map(({ handle }): WantedDataTrack => ({ direction: 'in', handle })),
    ...[...participant.dataTracks.values()].map((track): WantedDataTrack => ({
      direction: 'out',
      handle: track.handle,
      publisherHandle: track.info.pubHandle,
      receivers: others.filter((other) => isReceived(track, other)).length,
    })),
  ];
}

/** Always the whole map. */
export function tellDataHandles(room: RoomState, participant: Participant): void {
  const subHandles: Record<number, DataTrackSubscriberHandles_PublishedDataTrack> = {};
  for (const sid of participant.toldDataTracks) {
    const track = room.dataTracks.get(sid);
    if (track !== undefined) {
      subHandles[track.handle] = new DataTrackSubscriberHandles_PublishedDataTrack({
        publisherIdentity: track.publisher.identity,
        publisherSid: track.publisher.sid,
        trackSid: sid,
      });
    }
  }
  const value = new DataTrackSubscriberHandles({ subHandles });
  room.outbox.sendTo(participant, { case: 'dataTrackSubscriberHandles', value });
}

function isReceived({ info, publisher }: DataTrack, subscriber: Participant): boolean {
  return (
    subscriber !== publisher &&
    (subscriber.dataWishes.get(info.sid) ?? subscriber.autoSubscribeDataTracks) &&
    subscriber.grants.canSubscribe &&
    maySubscribe(publisher.subscriptionRules, subscriber, info.sid)
  );
}

function changed(room: RoomState, publisher: Participant): void {
  participantChanged(room, publisher, 'tracks');
  room.markChanged(publisher);
}

function freeHandle(room: RoomState): number {
  const taken = new Set([...room.dataTracks.values()].map(({ handle }) => handle));
  // A number that has just become free may still be in packets on their way.
  do {
    room.lastDataHandle = (room.lastDataHandle % maxHandle) + 1;
  } while (taken.has(room.lastDataHandle));
  return room.lastDataHandle;
}
