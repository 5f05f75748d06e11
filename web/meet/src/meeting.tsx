import { LiveKitRoom, VideoConference, useParticipants, useRoomContext } from '@livekit/components-react';
import type { DisconnectReason, RoomOptions } from 'livekit-client';
import { useMemo, useState } from 'react';
import type { Choices } from './lobby.tsx';

type MeetingProps = {
  token: string;
  choices: Choices;
  onLeave: (reason?: DisconnectReason) => void;
  onError: (error: Error) => void;
};

export function Meeting({ token, choices, onLeave, onError }: MeetingProps) {
  const options = useMemo<RoomOptions>(
    () => ({
      adaptiveStream: true,
      dynacast: true,
      audioCaptureDefaults: { deviceId: choices.audioDeviceId || 'default' },
      videoCaptureDefaults: choices.videoDeviceId === '' ? {} : { deviceId: choices.videoDeviceId },
    }),
    [choices],
  );
  return (
    <LiveKitRoom
      className="meeting"
      serverUrl={serverUrl()}
      token={token}
      options={options}
      audio={choices.audioEnabled}
      video={choices.videoEnabled}
      onDisconnected={onLeave}
      onError={(error) => {
        onError(error);
      }}
      onMediaDeviceFailure={() => onError(new Error('Camera or microphone cannot be used.'))}
    >
      <MeetingHeader />
      <VideoConference />
    </LiveKitRoom>
  );
}

/** The page is served by the server that it joins, whatever the path in front of `/meet/` is. */
function serverUrl(): string {
  const url = new URL('..', window.location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = '';
  url.hash = '';
  return url.href;
}

function MeetingHeader() {
  const room = useRoomContext();
  const count = useParticipants().length;
  const [copied, setCopied] = useState(false);
  const link = invitation();
  return (
    <header className="meeting-header">
      <img src="./icon.svg" alt="" width="22" height="22" />
      <strong>{room.name}</strong>
      <span className="meeting-count">{count === 1 ? 'only you' : `${count} people`}</span>
      {link === undefined ? null : (
        <button
          className="lk-button meeting-invite"
          type="button"
          onClick={() => {
            void navigator.clipboard?.writeText(link).then(() => {
              setCopied(true);
              setTimeout(() => setCopied(false), 2_000);
            });
          }}
        >
          {copied ? 'Link copied' : 'Copy invitation link'}
        </button>
      )}
    </header>
  );
}

/** A link with a personal token must not be passed on. */
function invitation(): string | undefined {
  return new URLSearchParams(window.location.search).has('token') ? undefined : window.location.href;
}
