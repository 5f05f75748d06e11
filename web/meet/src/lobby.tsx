import { PreJoin, type LocalUserChoices } from '@livekit/components-react';
import { useState } from 'react';
import type { LinkedToken } from './join-token.ts';

export type Choices = {
  room: string;
  name: string;
  audioEnabled: boolean;
  videoEnabled: boolean;
  audioDeviceId: string;
  videoDeviceId: string;
};

type LobbyProps = {
  linked: LinkedToken | undefined;
  notice: string;
  joining: boolean;
  onJoin: (choices: Choices) => void;
};

export function Lobby({ linked, notice, joining, onJoin }: LobbyProps) {
  const [room, setRoom] = useState(() => linked?.room ?? new URLSearchParams(window.location.search).get('room') ?? 'demo');
  const [problem, setProblem] = useState('');
  const roomFixed = linked !== undefined;

  function submit(values: LocalUserChoices): void {
    const name = values.username.trim();
    if (room.trim() === '') {
      setProblem('Please enter a room name.');
      return;
    }
    onJoin({
      room: room.trim(),
      name,
      audioEnabled: values.audioEnabled,
      videoEnabled: values.videoEnabled,
      audioDeviceId: values.audioDeviceId,
      videoDeviceId: values.videoDeviceId,
    });
  }

  return (
    <main className="lobby">
      <section className="lobby-card" aria-busy={joining}>
        <header className="lobby-header">
          <img src="./icon.svg" alt="" width="36" height="36" />
          <div>
            <h1>Plenum Meet</h1>
            <p>Check your camera and microphone, then join.</p>
          </div>
        </header>
        <Notice text={notice || problem} />
        <label className="lobby-room">
          <span>Room</span>
          <input
            className="lk-form-control"
            name="room"
            value={room}
            maxLength={256}
            readOnly={roomFixed}
            autoComplete="off"
            onChange={(event) => setRoom(event.target.value)}
          />
        </label>
        {devicesAvailable() ? (
          <PreJoin
            defaults={{ username: linked?.name ?? '' }}
            userLabel="Your name"
            joinLabel={joining ? 'Joining…' : 'Join the meeting'}
            onValidate={(values) => values.username.trim() !== ''}
            onSubmit={submit}
            onError={() => setProblem('Camera or microphone cannot be used. You can still join and listen.')}
          />
        ) : (
          <ListenOnly name={linked?.name ?? ''} joining={joining} onSubmit={submit} />
        )}
      </section>
    </main>
  );
}

/** Browsers hide cameras and microphones from pages that came over plain HTTP from another machine. */
function devicesAvailable(): boolean {
  return window.isSecureContext && navigator.mediaDevices !== undefined;
}

function Notice({ text }: { text: string }) {
  return text === '' ? null : (
    <p className="lobby-notice" role="alert">
      {text}
    </p>
  );
}

type ListenOnlyProps = { name: string; joining: boolean; onSubmit: (values: LocalUserChoices) => void };

function ListenOnly({ name, joining, onSubmit }: ListenOnlyProps) {
  const [username, setUsername] = useState(name);
  return (
    <form
      className="lobby-listen"
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit({ username, audioEnabled: false, videoEnabled: false, audioDeviceId: '', videoDeviceId: '' });
      }}
    >
      <p className="lobby-hint">
        Your browser gives camera and microphone to pages over HTTPS or on localhost only. Here you can join to watch, listen and
        chat.
      </p>
      <input
        className="lk-form-control"
        name="username"
        placeholder="Your name"
        value={username}
        onChange={(event) => setUsername(event.target.value)}
      />
      <button className="lk-button lk-join-button" type="submit" disabled={joining || username.trim() === ''}>
        {joining ? 'Joining…' : 'Join the meeting'}
      </button>
    </form>
  );
}
