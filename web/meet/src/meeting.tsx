import { ConnectionStateToast, LiveKitRoom, RoomAudioRenderer, useChat } from '@livekit/components-react';
import { ConnectionError, type DisconnectReason, type RoomOptions } from 'livekit-client';
import { useCallback, useMemo, useState } from 'react';
import { ChatPanel } from './chat-panel.tsx';
import { Controls } from './controls.tsx';
import { describeJoinError } from './end-text.ts';
import type { Choices } from './lobby.tsx';
import { MeetingHeader } from './meeting-header.tsx';
import { Stage } from './stage.tsx';

type MeetingProps = {
  token: string;
  choices: Choices;
  onLeave: (reason?: DisconnectReason) => void;
  /** The meeting could not be joined. */
  onFail: (text: string) => void;
};

export function Meeting({ token, choices, onLeave, onFail }: MeetingProps) {
  const [notice, setNotice] = useState('');
  const options = useMemo<RoomOptions>(
    () => ({
      adaptiveStream: true,
      dynacast: true,
      // The server answers 404 to the first try of a single connection; asking for two saves that round trip.
      singlePeerConnection: false,
      audioCaptureDefaults: { deviceId: choices.audioDeviceId || 'default' },
      videoCaptureDefaults: choices.videoDeviceId === '' ? {} : { deviceId: choices.videoDeviceId },
    }),
    [choices],
  );
  const deviceFailed = useCallback(() => setNotice('Camera or microphone cannot be used.'), []);
  const failed = useCallback(
    (error: Error) => {
      if (error instanceof ConnectionError) {
        onFail(describeJoinError(error));
      } else {
        deviceFailed();
      }
    },
    [onFail, deviceFailed],
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
      onError={failed}
      onMediaDeviceFailure={deviceFailed}
    >
      <Conference notice={notice} onNotice={setNotice} />
    </LiveKitRoom>
  );
}

type ConferenceProps = { notice: string; onNotice: (text: string) => void };

function Conference({ notice, onNotice }: ConferenceProps) {
  const [chatOpen, setChatOpen] = useState(false);
  const chat = useChat();
  const count = chat.chatMessages.length;
  /** Messages that were there when the chat was last closed. */
  const [read, setRead] = useState(0);
  const showChat = (open: boolean): void => {
    setChatOpen(open);
    setRead(count);
  };
  return (
    <>
      <MeetingHeader />
      <div className="meeting-body">
        <main className="meeting-stage">
          <Stage />
        </main>
        {chatOpen ? <ChatPanel chat={chat} onClose={() => showChat(false)} /> : null}
      </div>
      <Controls
        chatOpen={chatOpen}
        unread={chatOpen ? 0 : count - read}
        onToggleChat={() => showChat(!chatOpen)}
        onDeviceFailure={(text) => onNotice(text)}
      />
      <p className="meeting-notice" role="status" hidden={notice === ''}>
        <span>{notice}</span>
        <button className="lk-button" type="button" onClick={() => onNotice('')}>
          Close
        </button>
      </p>
      <RoomAudioRenderer />
      <ConnectionStateToast />
    </>
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
