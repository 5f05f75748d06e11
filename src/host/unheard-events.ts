/** What reached a room after it had begun to move, put into messages for those who are to send it to the next host. */
import type { ReleasedAnswer } from '../protocol/leg-messages.ts';
import type { HostToGateway } from '../protocol/session-messages.ts';
import type { RoomEvent } from '../room/events.ts';

export type UnheardEvents = {
  /** What clients said, back to their gateways. */
  signals: HostToGateway[];
  /** Answers to clients' offers, back to the legs. Everything else a leg states anew, or says again. */
  answers: ReleasedAnswer[];
  /** Commands that nobody has begun to carry out. */
  unheard: Set<number>;
};

export function sortUnheard(events: readonly RoomEvent[]): UnheardEvents {
  const sorted: UnheardEvents = { signals: [], answers: [], unheard: new Set() };
  for (const event of events) {
    if (event.kind === 'gateway' && event.message.kind === 'signal') {
      const { connectionId, message } = event.message;
      sorted.signals.push({ kind: 'returned', connectionId, message });
    } else if (event.kind === 'gateway' && event.message.kind === 'command') {
      sorted.unheard.add(event.message.requestId);
    } else if (event.kind === 'leg' && event.message.kind === 'answer') {
      const { kind: _answer, ...answer } = event.message;
      sorted.answers.push(answer);
    }
  }
  return sorted;
}
