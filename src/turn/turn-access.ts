/** What a participant needs to use the TURN servers. */
import { createHmac } from 'node:crypto';
import type { ParticipantSid } from '../protocol/ids.ts';
import type { IceServer } from '../room/settings.ts';

export type TurnAccess = {
  /** `host:port`; empty when there is none. */
  udp: string;
  tls: string;
  secret: string;
  ttlS: number;
  /** Media goes through TURN over TLS alone. */
  forceRelay: boolean;
};

/** @param nowMs Unix milliseconds */
export function turnServers(access: TurnAccess, participant: ParticipantSid, nowMs: number): IceServer[] {
  const { udp, tls, secret, ttlS, forceRelay } = access;
  const urls = [
    ...(udp === '' || (forceRelay && tls !== '') ? [] : [`turn:${udp}?transport=udp`]),
    ...(tls === '' ? [] : [`turns:${tls}?transport=tcp`]),
  ];
  return urls.length === 0 ? [] : [{ urls, ...turnCredentials(secret, { participant, ttlS, nowMs }) }];
}

export type CredentialLife = { participant: ParticipantSid; ttlS: number; nowMs: number };

/**
 * Time-limited credentials as coturn's `use-auth-secret` checks them (draft-uberti-behave-turn-rest-00). They are checked
 * when an allocation is made; what was allocated in time goes on.
 */
export function turnCredentials(
  secret: string,
  { participant, ttlS, nowMs }: CredentialLife,
): { username: string; credential: string } {
  const username = `${Math.trunc(nowMs / 1000 + ttlS)}:${participant}`;
  return { username, credential: createHmac('sha1', secret).update(username).digest('base64') };
}
