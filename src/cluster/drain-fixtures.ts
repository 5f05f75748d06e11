/** One representative message of each kind on the drain channel. */
import { nodeId, participantSid } from '../protocol/ids.ts';
import type { DrainReply, DrainRequest } from './drain-channel.ts';

type Samples<Message extends { kind: string }> = { [Kind in Message['kind']]: Extract<Message, { kind: Kind }> };

const roomName = 'Grüße 🎉';
const leg = participantSid('22223333bbbb');
const target = nodeId('media2');
const leaderEpoch = 4_294_967_297;

export const drainRequestSamples: Samples<DrainRequest> = {
  observe: { kind: 'observe', requestId: 7, nodeId: nodeId('media1') },
  moveHost: { kind: 'moveHost', leaderEpoch, roomName, target },
  abortHostMove: { kind: 'abortHostMove', leaderEpoch, roomName, why: 'target-lost' },
  prepareLeg: { kind: 'prepareLeg', leaderEpoch, roomName, participantSid: leg, target },
  abortPreparation: { kind: 'abortPreparation', leaderEpoch, roomName, participantSid: leg, why: 'timeout' },
  triggerLegs: { kind: 'triggerLegs', leaderEpoch, roomName, legs: [{ participantSid: leg, how: 'resume' }] },
  reconnectClient: { kind: 'reconnectClient', leaderEpoch, roomName, participantSid: leg, why: 'cannot-move' },
  closeLeg: { kind: 'closeLeg', leaderEpoch, roomName, participantSid: leg },
};

export const drainReplySamples: Samples<DrainReply> = {
  observed: {
    kind: 'observed',
    requestId: 7,
    rooms: [{ roomName, hostNodeId: nodeId('media1'), hostMove: { kind: 'moving', target, ageMs: 12.5 } }],
    legs: [
      {
        participantSid: leg,
        roomName,
        publishes: true,
        acceptsMove: true,
        move: { kind: 'staying', failures: 1, retryInMs: 900 },
      },
    ],
    carried: [{ participantSid: leg, roomName }],
  },
};
