/** What to tell a person whose meeting ended or did not begin. */
import { ConnectionError, ConnectionErrorReason, DisconnectReason } from 'livekit-client';

/** Empty when they left by themselves. */
export function describeDisconnect(reason: DisconnectReason | undefined): string {
  switch (reason) {
    case undefined:
    case DisconnectReason.CLIENT_INITIATED:
      return '';
    case DisconnectReason.DUPLICATE_IDENTITY:
      return 'You joined this meeting from another place, so it was closed here.';
    case DisconnectReason.PARTICIPANT_REMOVED:
      return 'You were removed from the meeting.';
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
      return 'The meeting has ended.';
    case DisconnectReason.SERVER_SHUTDOWN:
      return 'The server is restarting. Please join again in a moment.';
    case DisconnectReason.JOIN_FAILURE:
      return mediaBlocked;
    default:
      return 'The connection was lost. Please join again.';
  }
}

const mediaBlocked =
  'No connection for sound and picture could be made. A firewall may block the way to the server’s media ports.';
const unreachable = 'The server cannot be reached. Please try again.';

export function describeJoinError(error: Error): string {
  if (!(error instanceof ConnectionError)) {
    return unreachable;
  }
  switch (error.reason) {
    case ConnectionErrorReason.NotAllowed:
      return /requested room does not exist/.test(error.message)
        ? 'There is no such meeting. It may have ended.'
        : 'This invitation link is not valid, or not any more. Please ask for a new one.';
    case ConnectionErrorReason.LeaveRequest:
      // The first answer was the end: that is how a server refuses one participant too many. The library drops its reason.
      return 'You could not be let in. The meeting may be full; please try again later.';
    case ConnectionErrorReason.Cancelled:
      return '';
    case ConnectionErrorReason.Timeout:
      return mediaBlocked;
    default:
      return unreachable;
  }
}
