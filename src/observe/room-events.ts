/** One place for what happens to rooms: each event becomes a log line, a metric and a webhook, so that they cannot drift. */
import { TrackType, type WebhookEvent } from '@livekit/protocol';
import type { Logger } from './log.ts';
import type { MetricTrackKind, RoomMetrics } from './call-metrics.ts';

export type RoomEventsOptions = {
  log: Logger;
  metrics: RoomMetrics;
  webhooks: { publish(event: WebhookEvent): void };
  /** Unix milliseconds. */
  now: () => number;
};

export class RoomEvents {
  readonly #options: RoomEventsOptions;

  constructor(options: RoomEventsOptions) {
    this.#options = options;
  }

  publish(event: WebhookEvent): void {
    this.#count(event);
    const fields = {
      room: event.room?.name,
      ...(event.participant === undefined
        ? {}
        : { participant: event.participant.identity, participantSid: event.participant.sid }),
      ...(event.track === undefined ? {} : { track: event.track.sid }),
    };
    // Tracks come and go many times in a call, and the host itself says at info that a room opened or closed, and why.
    const isStep = event.participant !== undefined && event.track === undefined;
    this.#options.log[isStep ? 'info' : 'debug'](fields, event.event.replaceAll('_', ' '));
    this.#options.webhooks.publish(event);
  }

  #count(event: WebhookEvent): void {
    const { metrics } = this.#options;
    switch (event.event) {
      case 'room_finished':
        return metrics.roomClosed(this.#millisecondsSince(event.room?.creationTimeMs) / 1000);
      case 'participant_joined':
        return metrics.participantActive(this.#millisecondsSince(event.participant?.joinedAtMs));
      case 'participant_connection_aborted':
        return metrics.participantAborted();
      case 'participant_left':
        return metrics.participantLeft(this.#millisecondsSince(event.participant?.joinedAtMs));
      case 'track_published':
        return metrics.trackPublished(trackKind(event.track?.type));
      default:
    }
  }

  #millisecondsSince(startedAtMs: bigint | undefined): number {
    return startedAtMs === undefined || startedAtMs === 0n ? 0 : Math.max(0, this.#options.now() - Number(startedAtMs));
  }
}

function trackKind(type: TrackType | undefined): MetricTrackKind {
  switch (type) {
    case TrackType.VIDEO:
      return 'video';
    case TrackType.DATA:
      return 'data';
    default:
      return 'audio';
  }
}
