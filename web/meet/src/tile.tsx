import {
  ConnectionQualityIndicator,
  FocusToggle,
  isTrackReference,
  ParticipantContext,
  ParticipantName,
  ScreenShareIcon,
  TrackMutedIndicator,
  TrackRefContext,
  useEnsureTrackRef,
  useParticipantInfo,
  useParticipantTile,
  VideoTrack,
  type TrackReferenceOrPlaceholder,
} from '@livekit/components-react';
import { Track } from 'livekit-client';
import type { HTMLAttributes } from 'react';

type TileProps = HTMLAttributes<HTMLDivElement> & {
  /** In a layout, its turn of the layout's tracks when not given. */
  trackRef?: TrackReferenceOrPlaceholder;
};

/** One camera or screen, with the name of its owner. The library's own tile has a button without a name. */
export function Tile({ trackRef, ...htmlProps }: TileProps) {
  const track = useEnsureTrackRef(trackRef);
  const { elementProps } = useParticipantTile<HTMLDivElement>({ htmlProps, trackRef: track });
  return (
    <div style={{ position: 'relative' }} {...elementProps}>
      <TrackRefContext.Provider value={track}>
        <ParticipantContext.Provider value={track.participant}>
          <TileContent track={track} />
        </ParticipantContext.Provider>
      </TrackRefContext.Provider>
    </div>
  );
}

function TileContent({ track }: { track: TrackReferenceOrPlaceholder }) {
  const { name, identity } = useParticipantInfo({ participant: track.participant });
  const shownName = name || identity || '';
  const isScreen = track.source === Track.Source.ScreenShare;
  const microphone = { participant: track.participant, source: Track.Source.Microphone };
  return (
    <>
      {isTrackReference(track) ? (
        <VideoTrack trackRef={track} aria-label={isScreen ? `Screen of ${shownName}` : `Camera of ${shownName}`} />
      ) : null}
      <div className="lk-participant-placeholder">
        <span className="tile-initials" aria-hidden="true">
          {initials(shownName)}
        </span>
      </div>
      <div className="lk-participant-metadata">
        <div className="lk-participant-metadata-item">
          {isScreen ? (
            <ScreenShareIcon aria-hidden="true" />
          ) : (
            <TrackMutedIndicator trackRef={microphone} show="muted" role="img" aria-label="Microphone is off" />
          )}
          <ParticipantName>{isScreen ? '’s screen' : null}</ParticipantName>
          {track.participant.isLocal && !isScreen ? <span className="tile-note">(you)</span> : null}
        </div>
        <ConnectionQualityIndicator className="lk-participant-metadata-item" />
      </div>
      <FocusToggle trackRef={track} type="button" aria-label={`Show ${shownName} large, or beside the others`} />
    </>
  );
}

function initials(name: string): string {
  const words = name.split(/\s+/).filter((word) => word !== '');
  const shown = words.length > 1 ? [words.at(0), words.at(-1)] : words;
  const letters = shown.map((word = '') => String.fromCodePoint(word.codePointAt(0) ?? 0));
  return letters.join('').toUpperCase();
}
