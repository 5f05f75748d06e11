/** Messages to clients that carry a token, which has to be signed first. */
import { RoomMovedResponse } from '@livekit/protocol';
import type { Logger } from '../observe/log.ts';
import type { HostToGateway } from '../protocol/session-messages.ts';
import type { RoomEffect } from '../room/events.ts';
import { encodeSignal } from '../room/wire.ts';
import type { SignRefreshToken } from './contracts.ts';

export type TokenPort = {
  sign: SignRefreshToken;
  send: (message: HostToGateway) => void;
  log: Logger;
};

export function sendRefreshToken(effect: Extract<RoomEffect, { kind: 'refreshToken' }>, port: TokenPort): void {
  const { connectionId, token } = effect;
  port.sign(token).then(
    (signed) => {
      const message = encodeSignal({ case: 'refreshToken', value: signed });
      port.send({ kind: 'send', connectionIds: [connectionId], message });
    },
    (error: unknown) => port.log.error({ err: error, room: token.roomName }, 'refresh token could not be signed'),
  );
}

export function sendAway(effect: Extract<RoomEffect, { kind: 'sendAway' }>, port: TokenPort): void {
  const { connectionId, token, told, farewell, close } = effect;
  const send = (message: Uint8Array): void => port.send({ kind: 'send', connectionIds: [connectionId], message });
  const end = (): void => {
    if (farewell !== undefined) {
      send(farewell);
    }
    port.send({ kind: 'closeSocket', connectionId, ...close });
  };
  port.sign(token).then(
    (signed) => {
      send(encodeToken(told, signed));
      end();
    },
    (error: unknown) => {
      port.log.error({ err: error, room: token.roomName }, 'no token for another room');
      end();
    },
  );
}

function encodeToken(told: Uint8Array | undefined, token: string): Uint8Array {
  if (told === undefined) {
    return encodeSignal({ case: 'refreshToken', value: token });
  }
  const value = RoomMovedResponse.fromBinary(told);
  value.token = token;
  return encodeSignal({ case: 'roomMoved', value });
}
