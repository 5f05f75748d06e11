/** Identifiers with the wire prefixes that LiveKit clients see. Brands keep them from being mixed up. */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type RoomSid = Branded<'RoomSid'>;
export type ParticipantSid = Branded<'ParticipantSid'>;
/** Names one leg of a participant: the first one has the participant's sid, each one that it moves to a name of its own. */
export type LegId = Branded<'ParticipantSid' | 'LegId'>;
export type TrackSid = Branded<'TrackSid'>;
export type NodeId = Branded<'NodeId'>;
export type ConnectionId = Branded<'ConnectionId'>;

/** Supplies random suffixes; pure code receives one instead of reaching for a random generator. */
export type RandomSuffix = () => string;

const alphabet = '23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

/** Turns random bytes into the 12-character base57 suffix of an id. Needs at least 12 bytes. */
export function toSuffix(bytes: Uint8Array): string {
  let suffix = '';
  for (let index = 0; index < 12; index += 1) {
    suffix += alphabet[(bytes[index] ?? 0) % alphabet.length];
  }
  return suffix;
}

export function roomSid(suffix: string): RoomSid {
  return `RM_${suffix}` as RoomSid;
}

export function participantSid(suffix: string): ParticipantSid {
  return `PA_${suffix}` as ParticipantSid;
}

/** @param number of the leg among those of its participant; the first one is 1 */
export function legId(participant: ParticipantSid, number: number): LegId {
  return number === 1 ? participant : (`${participant}~${number}` as LegId);
}

export function legNumber(leg: LegId): number {
  return Number(leg.split('~', 2)[1] ?? 1);
}

export function participantOfLeg(leg: LegId): ParticipantSid {
  const [participant = ''] = leg.split('~', 1);
  return participant as ParticipantSid;
}

/** @param letters kind and source as LiveKit writes them: `AM`, `VC`, `VS`, `As`, … */
export function trackSid(letters: string, suffix: string): TrackSid {
  return `TR_${letters}${suffix}` as TrackSid;
}

export function nodeId(suffix: string): NodeId {
  return `ND_${suffix}` as NodeId;
}

export function connectionId(suffix: string): ConnectionId {
  return `CO_${suffix}` as ConnectionId;
}
