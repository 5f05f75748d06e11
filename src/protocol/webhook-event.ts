/** Webhooks on the wire: protojson body and signed headers. Uses node:crypto for hashing only. */
import { createHash } from 'node:crypto';
import type { WebhookEvent } from '@livekit/protocol';
import { signToken } from './token.ts';

/** `WebhookEvent.event` of everything that LiveKit servers send. */
export const webhookEventNames = [
  'room_started',
  'room_finished',
  'participant_joined',
  'participant_left',
  'participant_connection_aborted',
  'track_published',
  'track_unpublished',
  'egress_started',
  'egress_updated',
  'egress_ended',
  'ingress_started',
  'ingress_ended',
] as const;

export type WebhookSigning = {
  apiKey: string;
  secret: string;
  /** Unix seconds. */
  nowS: number;
};

const tokenTtlS = 300;

/** Receivers hash the exact text, so it is made once and used for signing and sending. */
export function formatWebhookBody(event: WebhookEvent): string {
  return event.toJsonString();
}

/** Headers for one body; the token in them is good for 5 minutes. */
export function webhookHeaders(body: string, signing: WebhookSigning): Record<string, string> {
  const sha256 = createHash('sha256').update(body, 'utf8').digest('base64');
  const { apiKey, secret, nowS } = signing;
  return {
    // LiveKit sends the bare token, without `Bearer`; its receivers take nothing else.
    authorization: signToken({ sha256 }, { apiKey, secret, nowS, ttlS: tokenTtlS }),
    'content-type': 'application/webhook+json',
    'user-agent': 'LiveKit-compatible Plenum',
  };
}
