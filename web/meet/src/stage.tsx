import {
  CarouselLayout,
  FocusLayoutContainer,
  GridLayout,
  isTrackReference,
  LayoutContextProvider,
  useCreateLayoutContext,
  usePinnedTracks,
  useTracks,
  type LayoutContextType,
  type TrackReferenceOrPlaceholder,
} from '@livekit/components-react';
import { RoomEvent, Track } from 'livekit-client';
import { useEffect, useRef } from 'react';
import { Tile } from './tile.tsx';

/** Everybody side by side, or one picture large and the others beside it. */
export function Stage() {
  const tracks = useTracks(
    [
      { source: Track.Source.Camera, withPlaceholder: true },
      { source: Track.Source.ScreenShare, withPlaceholder: false },
    ],
    { updateOnlyOn: [RoomEvent.ActiveSpeakersChanged], onlySubscribed: false },
  );
  const layout = useCreateLayoutContext();
  const [pinned] = usePinnedTracks(layout);
  usePinnedScreen(tracks, layout);
  // A pin outlives what it shows: a camera that was switched off and on again is another track.
  const large = pinned && tracks.find((track) => isSameSeat(track, pinned));
  return (
    <LayoutContextProvider value={layout}>
      {large === undefined ? (
        <GridLayout tracks={tracks}>
          <Tile />
        </GridLayout>
      ) : (
        <FocusLayoutContainer>
          <CarouselLayout tracks={tracks.filter((track) => track !== large)}>
            <Tile />
          </CarouselLayout>
          <Tile trackRef={large} />
        </FocusLayoutContainer>
      )}
    </LayoutContextProvider>
  );
}

function isSameSeat(a: TrackReferenceOrPlaceholder, b: TrackReferenceOrPlaceholder): boolean {
  return a.participant.identity === b.participant.identity && a.source === b.source;
}

/** A screen that somebody begins to share is shown large, until it ends or the viewer chooses otherwise. */
function usePinnedScreen(tracks: TrackReferenceOrPlaceholder[], layout: LayoutContextType): void {
  const autoPinned = useRef<string>(undefined);
  const dispatch = layout.pin.dispatch;
  const screen = tracks
    .filter(isTrackReference)
    .find((track) => track.source === Track.Source.ScreenShare && track.publication.isSubscribed);
  useEffect(() => {
    if (screen !== undefined && autoPinned.current !== screen.publication.trackSid) {
      autoPinned.current = screen.publication.trackSid;
      dispatch?.({ msg: 'set_pin', trackReference: screen });
    } else if (screen === undefined && autoPinned.current !== undefined) {
      autoPinned.current = undefined;
      dispatch?.({ msg: 'clear_pin' });
    }
  }, [screen, dispatch]);
}
