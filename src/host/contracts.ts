/** What the room host needs from its surroundings. */
import type { WebhookEvent } from '@livekit/protocol';
import type { RefreshToken } from '../room/events.ts';

/** Takes webhook events in order; queues, signs and retries them. Never blocks and never throws. */
export interface WebhookSink {
  /** @param event nobody may change it afterwards */
  publish(event: WebhookEvent): void;
}

/** Signs a refresh token with the API key that it names, or the first configured one. */
export type SignRefreshToken = (token: RefreshToken) => Promise<string>;

export type RoomHostStats = {
  rooms: number;
  participants: number;
  connections: number;
  legs: number;
  gateways: number;
  pendingCommands: number;
  /** Rooms that were ended because their own code threw, since the start. */
  failedRooms: number;
};
