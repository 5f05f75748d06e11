import { DisconnectReason } from 'livekit-client';

/** What to tell a person whose meeting ended; empty when they left by themselves. */
export function describeDisconnect(reason: DisconnectReason | undefined): string {
  switch (reason) {
    case undefined:
    case DisconnectReason.CLIENT_INITIATED:
      return '';
    case DisconnectReason.DUPLICATE_IDENTITY:
      return 'You joined this meeting from another place with the same name.';
    case DisconnectReason.PARTICIPANT_REMOVED:
      return 'You were removed from the meeting.';
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
      return 'The meeting has ended.';
    case DisconnectReason.SERVER_SHUTDOWN:
      return 'The server is restarting. Please join again in a moment.';
    case DisconnectReason.JOIN_FAILURE:
      return 'No connection for audio and video could be made. A firewall may block UDP and TCP to the media ports.';
    default:
      return 'The connection was lost. Please join again.';
  }
}
