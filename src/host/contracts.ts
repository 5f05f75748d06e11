/** What the room host needs from its surroundings. */
import type { WebhookEvent } from '@livekit/protocol';
import type { RefreshToken } from '../room/events.ts';
import type { RoomOwnership, RoomRegistrar } from '../cluster/directory.ts';
import type { Logger } from '../observe/log.ts';
import type { RandomSuffix } from '../protocol/ids.ts';
import type { JoinParameters } from '../protocol/session-messages.ts';
import type { SavedRoom } from '../room/saved-room.ts';
import type { RoomSettings } from '../room/settings.ts';
import type { LegPlacer } from './leg-links.ts';
import type { DrivenRoom } from './room-driver.ts';

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

export type CreateRoom = (options: {
  name: string;
  nowMs: number;
  createdBy?: JoinParameters;
  saved?: SavedRoom;
}) => DrivenRoom;

export type RoomHostNodeOptions = {
  settings: RoomSettings;
  registrar: RoomRegistrar;
  /** Of a node in a cluster, in place of `registrar`: rooms are asked for before they are opened. */
  ownership?: RoomOwnership;
  /** Of a node in a cluster: legs may be on others. */
  legPlacer?: LegPlacer;
  webhooks: WebhookSink;
  signRefreshToken: SignRefreshToken;
  random: RandomSuffix;
  log: Logger;
  /** Unix milliseconds. */
  now?: () => number;
  /** Replaced in tests of rooms that fail. */
  createRoom?: CreateRoom;
};
