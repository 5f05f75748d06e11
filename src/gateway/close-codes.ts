/**
 * Why signal sockets end, and the WebSocket close code and reason that the client sees.
 *
 * | end               | code | reason                                   | what the client does                       |
 * |-------------------|------|------------------------------------------|--------------------------------------------|
 * | host-closed       | any  | as the room host says (1000 after leave) | follows the `leave` before it              |
 * | host-lost         | 1012 | `the node of the room was lost`          | full reconnect, told by a `leave` before   |
 * | gateway-shutdown  | 1001 | `server is shutting down`                | resumes, through another gateway           |
 * | slow-client       | 1013 | `client reads too slowly`                | resumes                                    |
 * | message-too-large | 1009 | none (sent by the WebSocket library)     | resumes                                    |
 * | bad-message       | 1007 | `undecodable signal message`             | resumes                                    |
 * | too-many-messages | 1008 | `too many signal messages`               | resumes                                    |
 * | ping-timeout      | none | connection is cut                        | resumes                                    |
 * | client-closed     | none | the client was first, or its network     | -                                          |
 *
 * A breach of the WebSocket protocol itself (bad mask, bad UTF-8, …) also counts as `bad-message`; the library then chooses
 * 1002 or 1007.
 */
import type { SocketCloseCause } from '../protocol/session-messages.ts';

export type SocketEnd = SocketCloseCause | 'too-many-messages' | 'host-closed' | 'host-lost';

export type CloseFrame = { code: number; reason: string };

const frames: Readonly<Record<Exclude<SocketEnd, 'host-closed'>, CloseFrame | undefined>> = {
  'host-lost': { code: 1012, reason: 'the node of the room was lost' },
  'gateway-shutdown': { code: 1001, reason: 'server is shutting down' },
  'slow-client': { code: 1013, reason: 'client reads too slowly' },
  'bad-message': { code: 1007, reason: 'undecodable signal message' },
  'too-many-messages': { code: 1008, reason: 'too many signal messages' },
  'message-too-large': undefined,
  'ping-timeout': undefined,
  'client-closed': undefined,
};

/** Undefined where no close frame of ours goes out. */
export function closeFrameOf(end: Exclude<SocketEnd, 'host-closed'>): CloseFrame | undefined {
  return frames[end];
}

/** What the room host is told, or undefined when it knows already or is gone. */
export function causeForHost(end: SocketEnd): SocketCloseCause | undefined {
  switch (end) {
    case 'host-closed':
    case 'host-lost':
      return undefined;
    case 'too-many-messages':
      return 'bad-message';
    default:
      return end;
  }
}

/** A close frame that the WebSocket library accepts, whatever the host asked for: it throws on reserved codes and long reasons. */
export function sanitizeCloseFrame(frame: CloseFrame): CloseFrame {
  const { code } = frame;
  const allowed =
    (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);
  // RFC 6455, 5.5: control frames carry at most 125 bytes, 2 of them are the code. Cutting may split a character.
  const reason = Buffer.from(frame.reason)
    .subarray(0, 123)
    .toString('utf8')
    .replace(/\uFFFD$/, '');
  return { code: allowed && Number.isInteger(code) ? code : 1000, reason };
}
