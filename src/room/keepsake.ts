/**
 * What a host remembers of a participant, for the host after it: given to the participant's leg, which keeps it unread
 * and hands it over when the room has a new host. A newer version may add fields; one that older hosts would misread
 * raises `least`, and they then let the client join anew.
 */
import { AddTrackRequest, DataTrackInfo, TrackInfo } from '@livekit/protocol';
import type { ParticipantSid, RoomSid, TrackSid } from '../protocol/ids.ts';
import type { JoinParameters } from '../protocol/session-messages.ts';
import type { TrackSettings } from '../quality/layers.ts';
import { Participant } from './participant.ts';
import { allowAll, type SubscriptionRules } from './permissions.ts';
import type { RoomState } from './room-state.ts';
import { bound } from './settings.ts';
import { Track, type KeptTrack } from './track.ts';

const format = { version: 1, least: 1 } as const;

type KeptWish = {
  trackSid: TrackSid;
  wish?: boolean;
  settings?: TrackSettings;
  toldAllowed: boolean;
  /** Absent: 0. */
  generation?: number;
};

type Keepsake = {
  version: number;
  /** The oldest version that may read it. */
  least: number;
  roomSid: RoomSid;
  sid: ParticipantSid;
  join: Omit<JoinParameters, 'roomConfiguration' | 'resume' | 'earlyMessages'>;
  roomConfiguration?: string;
  joinedAtMs: number;
  subscriberPrimary: boolean;
  state: number;
  infoVersion: number;
  tracks: (Omit<KeptTrack, 'info'> & { info: string })[];
  queued: string[];
  cids: [cid: string, sid: TrackSid][];
  wishes: KeptWish[];
  unknownWishes: string[];
  /** Absent: none. */
  dataTracks?: { info: string; handle: number }[];
  dataWishes?: [sid: string, wish: boolean][];
  rules: { allParticipants: boolean; subscribers: [key: string, tracks: 'all' | string[]][] };
};

export type Kept = { participant: Participant; wishes: KeptWish[]; unknownWishes: string[] };

/** @returns no bytes when it would be too large: the client then joins anew when the host is lost */
export function encodeKeepsake(room: RoomState, participant: Participant): Uint8Array {
  const { name, metadata, attributes, grants, identity, kind, kindDetails, client, apiKey } = participant;
  const { autoSubscribe, adaptiveStream, autoSubscribeDataTracks, tokenExpiresAtS, roomConfiguration } = participant;
  const keepsake: Keepsake = {
    ...format,
    roomSid: room.sid,
    sid: participant.sid,
    join: {
      roomName: room.name,
      identity,
      name,
      metadata,
      attributes,
      kind,
      kindDetails,
      grants,
      client,
      autoSubscribe,
      adaptiveStream,
      autoSubscribeDataTracks,
      apiKey,
      tokenExpiresAtS,
      ...(participant.singlePeerConnection ? { singlePeerConnection: true } : {}),
    },
    ...(roomConfiguration === undefined ? {} : { roomConfiguration: toText(roomConfiguration) }),
    joinedAtMs: participant.joinedAtMs,
    subscriberPrimary: participant.subscriberPrimary,
    state: participant.state,
    infoVersion: participant.version,
    tracks: [...participant.tracks.values()].map((track) => keepTrack(track)),
    queued: participant.queued.map((request) => toText(request.toBinary())),
    cids: [...participant.sidsByCid],
    wishes: keepWishes(participant),
    unknownWishes: [...participant.unknownWishes],
    ...keepDataTracks(participant),
    rules: keepRules(participant.subscriptionRules),
  };
  const bytes = new TextEncoder().encode(JSON.stringify(keepsake));
  return bytes.length <= bound.keepsakeBytes ? bytes : new Uint8Array();
}

/** @returns undefined for what this version cannot read */
export function decodeKeepsake(room: RoomState, bytes: Uint8Array): Kept | undefined {
  try {
    const kept = JSON.parse(new TextDecoder().decode(bytes)) as Keepsake;
    return kept.least <= format.version ? restore(room, kept) : undefined;
  } catch {
    // Whatever is missing or of another type: nothing of it is in the room yet.
    return undefined;
  }
}

function restore(room: RoomState, kept: Keepsake): Kept {
  const join: JoinParameters = {
    ...kept.join,
    attributes: { ...kept.join.attributes },
    grants: { ...kept.join.grants, canPublishSources: [...kept.join.grants.canPublishSources] },
    client: { ...kept.join.client, capabilities: [...kept.join.client.capabilities] },
    ...(kept.roomConfiguration === undefined ? {} : { roomConfiguration: toBytes(kept.roomConfiguration) }),
  };
  const participant = new Participant(kept.sid, join, toNumber(kept.joinedAtMs), {
    subscriberPrimary: kept.subscriberPrimary,
    version: toNumber(kept.infoVersion),
  });
  participant.state = toNumber(kept.state);
  participant.subscriptionRules = restoreRules(kept.rules);
  for (const track of kept.tracks) {
    const options = { kept: restoreTrack(track), publisher: participant };
    const restored = new Track({ ...options, dynacastPauseDelayMs: room.settings.dynacastPauseDelayMs });
    participant.tracks.set(restored.sid, restored);
  }
  participant.queued.push(...kept.queued.map((request) => AddTrackRequest.fromBinary(toBytes(request))));
  for (const [cid, sid] of kept.cids) {
    participant.sidsByCid.set(cid, sid);
  }
  restoreDataTracks(participant, kept);
  const wishes = kept.wishes.map((wish) => ({ ...wish }));
  return { participant, wishes, unknownWishes: [...kept.unknownWishes] };
}

function keepTrack(track: Track): Keepsake['tracks'][number] {
  const kept = track.keep();
  return { ...kept, info: toText(kept.info.toBinary()) };
}

function restoreTrack(kept: Keepsake['tracks'][number]): KeptTrack {
  const info = TrackInfo.fromBinary(toBytes(kept.info));
  if (info.sid === '') {
    throw new TypeError('a track has no sid');
  }
  return { ...kept, info, codecs: kept.codecs.map((codec) => ({ ...codec })) };
}

function keepDataTracks({ dataTracks, dataWishes }: Participant): Pick<Keepsake, 'dataTracks' | 'dataWishes'> {
  const kept = [...dataTracks.values()].map(({ info, handle }) => ({ info: toText(info.toBinary()), handle }));
  return {
    ...(kept.length === 0 ? {} : { dataTracks: kept }),
    ...(dataWishes.size === 0 ? {} : { dataWishes: [...dataWishes] }),
  };
}

function restoreDataTracks(publisher: Participant, { dataTracks = [], dataWishes = [] }: Keepsake): void {
  for (const { info: bytes, handle } of dataTracks) {
    const info = DataTrackInfo.fromBinary(toBytes(bytes));
    publisher.dataTracks.set(info.pubHandle, { info, publisher, handle: toNumber(handle) });
  }
  for (const [sid, wish] of dataWishes) {
    publisher.dataWishes.set(sid, wish);
  }
}

/** Only what differs from that of a subscriber who said nothing. */
function keepWishes(participant: Participant): KeptWish[] {
  return [...participant.subscriptions].flatMap(([trackSid, { wish, settings, toldAllowed, generation }]) =>
    wish === undefined && settings === undefined && toldAllowed && generation === 0
      ? []
      : [
          {
            trackSid,
            toldAllowed,
            ...(wish === undefined ? {} : { wish }),
            ...(settings === undefined ? {} : { settings }),
            ...(generation === 0 ? {} : { generation }),
          },
        ],
  );
}

function keepRules({ allParticipants, tracksBySubscriber }: SubscriptionRules): Keepsake['rules'] {
  return {
    allParticipants,
    subscribers: [...tracksBySubscriber].map(([key, tracks]) => [key, tracks === 'all' ? tracks : [...tracks]]),
  };
}

function restoreRules({ allParticipants, subscribers }: Keepsake['rules']): SubscriptionRules {
  if (allParticipants) {
    return allowAll;
  }
  const entries = subscribers.map(([key, tracks]) => [key, tracks === 'all' ? tracks : new Set(tracks)] as const);
  return { allParticipants, tracksBySubscriber: new Map(entries) };
}

function toNumber(value: unknown): number {
  if (typeof value !== 'number') {
    throw new TypeError('not a number');
  }
  return value;
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function toBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64'));
}
