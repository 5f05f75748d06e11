/** Answers to requests of a client: errors, and OK for clients that know it. */
import { ClientInfo_SDK, RequestResponse, RequestResponse_Reason } from '@livekit/protocol';
import type { Participant } from './participant.ts';
import type { RoomState } from './room-state.ts';

export type EchoedRequest = RequestResponse['request'];

export type Answer = {
  requestId?: number;
  reason: RequestResponse_Reason;
  message?: string;
  /** The request itself, so that clients know which one is meant. */
  request: EchoedRequest;
};

export function respond(room: RoomState, participant: Participant, answer: Answer): void {
  const { protocol, sdk } = participant.client;
  if (answer.reason === RequestResponse_Reason.OK && protocol <= 14) {
    return;
  }
  // The Rust core before protocol 10 closes its socket on messages that it does not know.
  if (sdk === ClientInfo_SDK.RUST && protocol < 10) {
    return;
  }
  room.outbox.sendTo(participant, {
    case: 'requestResponse',
    value: new RequestResponse({
      requestId: answer.requestId ?? 0,
      reason: answer.reason,
      message: answer.message ?? '',
      request: answer.request,
    }),
  });
}
