import { MediaDeviceMenu, ParticipantPlaceholder, TrackToggle, usePreviewTracks } from '@livekit/components-react';
import { Track, type LocalAudioTrack, type LocalVideoTrack } from 'livekit-client';
import { useEffect, useRef } from 'react';

export type DeviceChoices = {
  audioEnabled: boolean;
  videoEnabled: boolean;
  /** Empty = the browser's default. */
  audioDeviceId: string;
  videoDeviceId: string;
};

type DevicePreviewProps = {
  choices: DeviceChoices;
  onChange: (choices: DeviceChoices) => void;
  onFailure: () => void;
};

/** The own picture, and switches for camera and microphone. */
export function DevicePreview({ choices, onChange, onFailure }: DevicePreviewProps) {
  const tracks = usePreviewTracks(
    {
      audio: choices.audioEnabled && { deviceId: choices.audioDeviceId || 'default' },
      video: choices.videoEnabled && { deviceId: choices.videoDeviceId || 'default' },
    },
    onFailure,
  );
  const audioTrack = tracks?.find((track): track is LocalAudioTrack => track.kind === Track.Kind.Audio);
  const videoTrack = tracks?.find((track): track is LocalVideoTrack => track.kind === Track.Kind.Video);
  const shown = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const element = shown.current;
    if (element !== null && videoTrack !== undefined && choices.videoEnabled) {
      videoTrack.attach(element);
      return () => void videoTrack.detach(element);
    }
    return undefined;
  }, [videoTrack, choices.videoEnabled]);

  return (
    <section className="preview" aria-label="Camera and microphone">
      <div className="preview-picture">
        <video ref={shown} muted playsInline hidden={!choices.videoEnabled} aria-label="Your camera" />
        {choices.videoEnabled ? null : <ParticipantPlaceholder role="img" aria-label="Your camera is off" />}
      </div>
      <div className="preview-switches">
        <div className="lk-button-group">
          <TrackToggle
            type="button"
            source={Track.Source.Microphone}
            initialState={choices.audioEnabled}
            onChange={(audioEnabled) => onChange({ ...choices, audioEnabled })}
          >
            Microphone
          </TrackToggle>
          <div className="lk-button-group-menu">
            <MediaDeviceMenu
              type="button"
              aria-label="Choose a microphone"
              kind="audioinput"
              tracks={{ audioinput: audioTrack }}
              onActiveDeviceChange={(_kind, audioDeviceId) => onChange({ ...choices, audioDeviceId })}
            />
          </div>
        </div>
        <div className="lk-button-group">
          <TrackToggle
            type="button"
            source={Track.Source.Camera}
            initialState={choices.videoEnabled}
            onChange={(videoEnabled) => onChange({ ...choices, videoEnabled })}
          >
            Camera
          </TrackToggle>
          <div className="lk-button-group-menu">
            <MediaDeviceMenu
              type="button"
              aria-label="Choose a camera"
              kind="videoinput"
              tracks={{ videoinput: videoTrack }}
              onActiveDeviceChange={(_kind, videoDeviceId) => onChange({ ...choices, videoDeviceId })}
            />
          </div>
        </div>
      </div>
    </section>
  );
}
