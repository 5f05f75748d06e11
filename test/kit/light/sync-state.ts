import {
  DataChannelInfo,
  DataChannelReceiveState,
  SessionDescription,
  SignalTarget,
  SyncState,
  TrackPublishedResponse,
  UpdateSubscription,
  type TrackInfo,
} from '@livekit/protocol';
import { channelStreams, type LightPublisher } from './light-publisher.ts';
import type { LightSubscriber } from './light-subscriber.ts';

export type ClientState = {
  subscriber: LightSubscriber;
  publisher: LightPublisher | undefined;
  autoSubscribe: boolean;
  /** Last reliable sequence received, by participant sid. */
  lastSequences: ReadonlyMap<string, number>;
  ownTracks: TrackInfo[];
};

/** What a client says about itself as the first message after a resume. */
export function describeState(state: ClientState): SyncState {
  const { subscriber, publisher } = state;
  const received = [...subscriber.peer.channels.values()].map(
    ({ label, stream }) => new DataChannelInfo({ label, id: stream, target: SignalTarget.SUBSCRIBER }),
  );
  const opened = Object.entries(publisher ? channelStreams : {}).map(
    ([label, id]) => new DataChannelInfo({ label, id, target: SignalTarget.PUBLISHER }),
  );
  return new SyncState({
    answer: new SessionDescription({ type: 'answer', sdp: subscriber.lastAnswer }),
    subscription: new UpdateSubscription({ subscribe: !state.autoSubscribe }),
    publishTracks: (publisher?.tracks ?? []).map(({ cid, trackSid }) => {
      const track = state.ownTracks.find(({ sid }) => sid === trackSid);
      return new TrackPublishedResponse({ cid, track: track ?? { sid: trackSid } });
    }),
    dataChannels: [...received, ...opened],
    datachannelReceiveStates: [...state.lastSequences].map(
      ([publisherSid, lastSeq]) => new DataChannelReceiveState({ publisherSid, lastSeq }),
    ),
    ...(publisher ? { offer: new SessionDescription({ type: 'offer', sdp: publisher.lastOffer }) } : {}),
  });
}
