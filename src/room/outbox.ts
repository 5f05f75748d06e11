/** Collects what one step of a room wants done. */
import type { ConnectionId } from '../protocol/ids.ts';
import type { HostToLeg } from '../protocol/leg-messages.ts';
import type { HostToGateway } from '../protocol/session-messages.ts';
import type { RoomEffect } from './events.ts';
import type { Participant } from './participant.ts';
import { encodeSignal, type SignalMessage } from './wire.ts';

export class Outbox {
  #effects: RoomEffect[] = [];

  push(effect: RoomEffect): void {
    this.#effects.push(effect);
  }

  toGateway(message: HostToGateway): void {
    this.push({ kind: 'toGateway', message });
  }

  toLeg(message: HostToLeg): void {
    this.push({ kind: 'toLeg', message });
  }

  /** Encodes once for all receivers that have a socket. */
  send(receivers: Iterable<Participant>, message: SignalMessage): void {
    const connectionIds = socketsOf(receivers);
    if (connectionIds.length > 0) {
      this.toGateway({ kind: 'send', connectionIds, message: encodeSignal(message) });
    }
  }

  sendTo(receiver: Participant, message: SignalMessage): void {
    this.send([receiver], message);
  }

  sendBytes(receivers: Iterable<Participant>, message: Uint8Array): void {
    const connectionIds = socketsOf(receivers);
    if (connectionIds.length > 0) {
      this.toGateway({ kind: 'send', connectionIds, message });
    }
  }

  debug(message: string, fields: Record<string, string | number>): void {
    this.push({ kind: 'log', level: 'debug', message, fields });
  }

  take(): RoomEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

function socketsOf(receivers: Iterable<Participant>): ConnectionId[] {
  const sockets: ConnectionId[] = [];
  for (const receiver of receivers) {
    if (receiver.connectionId !== undefined) {
      sockets.push(receiver.connectionId);
    }
  }
  return sockets;
}
