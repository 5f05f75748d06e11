/** What a participant may do, and who may subscribe to its tracks. */
import { ParticipantPermission, type SubscriptionPermission, TrackSource } from '@livekit/protocol';
import type { VideoGrants } from '../protocol/session-messages.ts';

export function toPermission(grants: VideoGrants): ParticipantPermission {
  return new ParticipantPermission({
    canSubscribe: grants.canSubscribe,
    canPublish: grants.canPublish,
    canPublishData: grants.canPublishData,
    canPublishSources: grants.canPublishSources,
    hidden: grants.hidden,
    recorder: grants.recorder,
    canUpdateMetadata: grants.canUpdateOwnMetadata,
    agent: grants.agent,
    canSubscribeMetrics: grants.canSubscribeMetrics,
    canManageAgentSession: grants.canManageAgentSession,
  });
}

/**
 * The grants after an UpdateParticipant. Whether a participant is hidden, a recorder or an agent stays as it joined:
 * others were told (or not) of it on that ground, and SDKs leave these fields false when they only mean to change another.
 */
export function withPermission(grants: VideoGrants, permission: ParticipantPermission): VideoGrants {
  return {
    ...grants,
    canSubscribe: permission.canSubscribe,
    canPublish: permission.canPublish,
    canPublishData: permission.canPublishData,
    canPublishSources: [...permission.canPublishSources],
    canUpdateOwnMetadata: permission.canUpdateMetadata,
    canSubscribeMetrics: permission.canSubscribeMetrics,
    canManageAgentSession: permission.canManageAgentSession,
  };
}

/** A list of sources restricts; a track of unknown source is on no list. */
export function mayPublishSource(grants: VideoGrants, source: TrackSource): boolean {
  if (!grants.canPublish) {
    return false;
  }
  return (
    grants.canPublishSources.length === 0 ||
    (source !== TrackSource.UNKNOWN && grants.canPublishSources.includes(source))
  );
}

/** A publisher's decision on who may receive its tracks. */
export type SubscriptionRules = {
  allParticipants: boolean;
  /** Track sids by subscriber (identity or sid); `all` = every track. */
  tracksBySubscriber: ReadonlyMap<string, 'all' | ReadonlySet<string>>;
};

export const allowAll: SubscriptionRules = { allParticipants: true, tracksBySubscriber: new Map() };

export function toSubscriptionRules(permission: SubscriptionPermission): SubscriptionRules {
  if (permission.allParticipants) {
    return allowAll;
  }
  const tracksBySubscriber = new Map<string, 'all' | ReadonlySet<string>>();
  for (const entry of permission.trackPermissions) {
    const tracks = entry.allTracks ? 'all' : new Set(entry.trackSids);
    for (const key of [entry.participantIdentity, entry.participantSid]) {
      if (key !== '') {
        tracksBySubscriber.set(key, tracks);
      }
    }
  }
  return { allParticipants: false, tracksBySubscriber };
}

export type Subscriber = { sid: string; identity: string; grants: VideoGrants };

/** Recorders are let in by the server's own will and are exempt. */
export function maySubscribe(rules: SubscriptionRules, subscriber: Subscriber, trackSid: string): boolean {
  if (rules.allParticipants || subscriber.grants.recorder) {
    return true;
  }
  const tracks = rules.tracksBySubscriber.get(subscriber.identity) ?? rules.tracksBySubscriber.get(subscriber.sid);
  return tracks === 'all' || (tracks?.has(trackSid) ?? false);
}
