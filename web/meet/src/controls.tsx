import {
  ChatIcon,
  DisconnectButton,
  LeaveIcon,
  MediaDeviceMenu,
  StartMediaButton,
  TrackToggle,
  useLocalParticipantPermissions,
} from '@livekit/components-react';
import { Track } from 'livekit-client';
import { useState } from 'react';

type ControlsProps = {
  chatOpen: boolean;
  /** Messages that came while the chat was closed. */
  unread: number;
  onToggleChat: () => void;
  onDeviceFailure: (text: string) => void;
};

/** LiveKit `TrackSource` numbers, as permissions list them. */
const protocolSources = {
  [Track.Source.Camera]: 1,
  [Track.Source.Microphone]: 2,
  [Track.Source.ScreenShare]: 3,
} as const;

export function Controls({ chatOpen, unread, onToggleChat, onDeviceFailure }: ControlsProps) {
  const permissions = useLocalParticipantPermissions();
  const [sharing, setSharing] = useState(false);
  const mayPublish = (source: keyof typeof protocolSources): boolean =>
    permissions?.canPublish === true &&
    (permissions.canPublishSources.length === 0 || permissions.canPublishSources.includes(protocolSources[source]));
  return (
    <div className="lk-control-bar controls" role="toolbar" aria-label="Meeting controls">
      {mayPublish(Track.Source.Microphone) ? (
        <div className="lk-button-group">
          <TrackToggle
            source={Track.Source.Microphone}
            onDeviceError={() => onDeviceFailure('The microphone cannot be used.')}
          >
            <span className="controls-text">Microphone</span>
          </TrackToggle>
          <div className="lk-button-group-menu">
            <MediaDeviceMenu kind="audioinput" aria-label="Choose a microphone" />
          </div>
        </div>
      ) : null}
      {mayPublish(Track.Source.Camera) ? (
        <div className="lk-button-group">
          <TrackToggle source={Track.Source.Camera} onDeviceError={() => onDeviceFailure('The camera cannot be used.')}>
            <span className="controls-text">Camera</span>
          </TrackToggle>
          <div className="lk-button-group-menu">
            <MediaDeviceMenu kind="videoinput" aria-label="Choose a camera" />
          </div>
        </div>
      ) : null}
      {mayPublish(Track.Source.ScreenShare) && canShareScreen() ? (
        <TrackToggle
          source={Track.Source.ScreenShare}
          captureOptions={{ audio: true, selfBrowserSurface: 'include' }}
          onChange={setSharing}
          // Closing the browser's chooser is a refusal too, and no failure.
          onDeviceError={(error) =>
            error.name === 'NotAllowedError' ? undefined : onDeviceFailure('The screen cannot be shared.')
          }
        >
          <span className="controls-text">{sharing ? 'Stop sharing' : 'Share screen'}</span>
        </TrackToggle>
      ) : null}
      <button className="lk-button controls-chat" type="button" aria-pressed={chatOpen} onClick={onToggleChat}>
        <ChatIcon aria-hidden="true" />
        <span className="controls-text">Chat</span>
        {unread === 0 ? null : (
          <span className="controls-unread">
            {unread}
            <span className="visually-hidden"> unread</span>
          </span>
        )}
      </button>
      <DisconnectButton>
        <LeaveIcon aria-hidden="true" />
        <span className="controls-text">Leave</span>
      </DisconnectButton>
      <StartMediaButton />
    </div>
  );
}

/** Browsers of phones cannot, and none can on plain HTTP from another machine. */
function canShareScreen(): boolean {
  return navigator.mediaDevices !== undefined && 'getDisplayMedia' in navigator.mediaDevices;
}
