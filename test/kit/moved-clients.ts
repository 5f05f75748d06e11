/** Clients that are moved between nodes: what their applications must not hear, and what light ones do by themselves. */
import { setTimeout as delay } from 'node:timers/promises';
import { ParticipantInfo_State } from '@livekit/protocol';
import { RoomEvent } from '@livekit/rtc-node';
import type { LightClient } from './light-client.ts';
import type { SignalMessage } from './light/light-signal.ts';
import type { RtcClient } from './rtc-node.ts';

/** Events of livekit-client. */
export const eventsOfNoMove: readonly string[] = [
  'trackSubscribed',
  'trackUnsubscribed',
  'trackPublished',
  'trackUnpublished',
  'trackMuted',
  'trackUnmuted',
  'participantConnected',
  'participantDisconnected',
  'localTrackUnpublished',
  'localTrackPublished',
  'disconnected',
  'reconnecting',
];

/** @returns a list that gets the events of rtc-node that no move brings */
export function recordEvents(client: RtcClient): string[] {
  const heard: string[] = [];
  for (const event of [
    RoomEvent.TrackSubscribed,
    RoomEvent.TrackUnsubscribed,
    RoomEvent.TrackPublished,
    RoomEvent.TrackUnpublished,
    RoomEvent.TrackMuted,
    RoomEvent.TrackUnmuted,
    RoomEvent.ParticipantConnected,
    RoomEvent.ParticipantDisconnected,
    RoomEvent.LocalTrackPublished,
    RoomEvent.LocalTrackUnpublished,
    RoomEvent.Disconnected,
  ] as const) {
    client.room.on(event, () => void heard.push(event));
  }
  return heard;
}

/** @returns what an application would hear of this message as a change of participants and tracks; empty: nothing */
export function changeIn(message: SignalMessage): string {
  switch (message.case) {
    case 'update': {
      const odd = message.value.participants.find(({ state }) => state !== ParticipantInfo_State.ACTIVE);
      return odd === undefined ? '' : `${odd.identity} is ${ParticipantInfo_State[odd.state]}`;
    }
    case 'leave':
    case 'trackPublished':
    case 'trackUnpublished':
    case 'mute':
      return message.case;
    default:
      return '';
  }
}

/** Resumes whenever the socket is lost, as every client does, until the client leaves. */
export async function keepResuming(client: LightClient, resumed: () => void): Promise<void> {
  while (!client.isClosing && client.leaveReceived === undefined) {
    await client.waitFor(() => client.socketCloseCode !== undefined || client.isClosing, 'end of the socket', 600_000);
    if (client.isClosing || client.leaveReceived !== undefined) return;
    try {
      await client.resume();
      resumed();
    } catch {
      await delay(50);
    }
  }
}
