/** The two directions of a leg: on a connection each, or both on the one of a client that offers also to receive. */
import { randomInt } from 'node:crypto';
import type { DataPublisher } from '../media/data-publisher.ts';
import type { DataSubscriber } from '../media/data-subscriber.ts';
import type { Logger } from '../observe/log.ts';
import type { LegToHost } from '../protocol/leg-messages.ts';
import { missesReturningTracks, missesStreamlessTracks } from './client-quirks.ts';
import type { LegOptions } from './leg.ts';
import type { PeerHooks } from './peer-hooks.ts';
import { PublisherPeer } from './publisher-peer.ts';
import { sdpSessionId } from './session-id.ts';
import { SingleSubscriber } from './single-subscriber.ts';
import { SubscriberPeer } from './subscriber-peer.ts';

export type PeerSurroundings = {
  log: Logger;
  send: (message: LegToHost) => void;
  hooks: PeerHooks & { published: (data: DataPublisher) => void; subscribed: (data: DataSubscriber) => void };
};

export type Peers = { publisher: PublisherPeer; subscriber: SubscriberPeer | SingleSubscriber };

export function createPeers(options: LegOptions, surroundings: PeerSurroundings): Peers {
  if (options.identity.singlePeerConnection !== true) {
    return {
      publisher: createPublisher(options, surroundings),
      subscriber: createSubscriber(options, surroundings),
    };
  }
  const subscriber = createSingleSubscriber(options, surroundings);
  return { publisher: createPublisher(options, surroundings, subscriber), subscriber };
}

function createPublisher(
  { room, workerIndex, nextGeneration, moved, legId: leg }: LegOptions,
  { log, send, hooks }: PeerSurroundings,
  receiver?: SingleSubscriber,
): PublisherPeer {
  return new PublisherPeer({
    router: () => room.router(workerIndex),
    home: () => ({ nodeId: room.nodeId, workerIndex }),
    producers: room,
    nextGeneration,
    sessionId: sdpSessionId(),
    ...(moved?.publisher === undefined ? {} : { continues: moved.publisher }),
    ...(receiver === undefined ? {} : { receiver }),
    log,
    hooks: {
      ...hooks,
      answer: (id, sdp, midToTrackId) =>
        send({ kind: 'answer', leg, id, sdp, ...(midToTrackId === undefined ? {} : { midToTrackId }) }),
      dataReady: hooks.published,
    },
  });
}

function createSubscriber(
  { room, workerIndex, now, answerTimeoutMs, moved, identity, legId: leg }: LegOptions,
  { log, send, hooks }: PeerSurroundings,
): SubscriberPeer {
  return new SubscriberPeer({
    router: () => room.router(workerIndex),
    producers: room.producersOn(workerIndex),
    now,
    // Small and random: an answer that was meant for an earlier session must not fit by chance.
    firstOfferId: randomInt(1, 1000),
    sessionId: sdpSessionId(),
    ...(moved === undefined ? {} : { continues: moved.subscriber }),
    retiresSections: missesReturningTracks(identity.client),
    ...(missesStreamlessTracks(identity.client) ? { probatorStream: identity.participantSid } : {}),
    answerTimeoutMs,
    allowPause: identity.allowPause === true,
    log,
    hooks: {
      ...hooks,
      offer: (id, sdp, midToTrackId) => send({ kind: 'offer', leg, id, sdp, midToTrackId }),
      dataReady: hooks.subscribed,
    },
  });
}

function createSingleSubscriber(
  { room, workerIndex, now, answerTimeoutMs, identity, moved, legId: leg }: LegOptions,
  { log, send, hooks }: PeerSurroundings,
): SingleSubscriber {
  return new SingleSubscriber({
    router: () => room.router(workerIndex),
    producers: room.producersOn(workerIndex),
    now,
    retiresSections: missesReturningTracks(identity.client),
    answerTimeoutMs,
    allowPause: identity.allowPause === true,
    ...(moved === undefined
      ? {}
      : { continues: { subscriber: moved.subscriber, channels: moved.publisher?.channels ?? [] } }),
    log,
    hooks: {
      ...hooks,
      sectionsNeeded: (counts) => send({ kind: 'sectionsNeeded', leg, ...counts }),
      dataReady: hooks.subscribed,
    },
  });
}
