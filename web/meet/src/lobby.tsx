import { useCallback, useEffect, useState } from 'react';
import { DevicePreview, type DeviceChoices } from './device-preview.tsx';
import type { LinkedToken } from './join-token.ts';
import { loadName, saveName } from './stored-name.ts';

export type Choices = DeviceChoices & { room: string; name: string };

type LobbyProps = {
  linked: LinkedToken | undefined;
  /** Why the last meeting ended or could not be joined. */
  notice: string;
  joining: boolean;
  onJoin: (choices: Choices) => void;
};

export function Lobby({ linked, notice, joining, onJoin }: LobbyProps) {
  const hasDevices = devicesAvailable();
  const [room, setRoom] = useState(() => linked?.room ?? roomOfAddress());
  const [name, setName] = useState(() => linked?.name ?? loadName());
  const [devices, setDevices] = useState<DeviceChoices>({
    audioEnabled: hasDevices,
    videoEnabled: hasDevices,
    audioDeviceId: '',
    videoDeviceId: '',
  });
  const [problem, setProblem] = useState('');
  const deviceFailed = useCallback(
    () => setProblem('Camera or microphone cannot be used. You can still join, watch and listen.'),
    [],
  );
  useEffect(() => {
    document.title = 'Plenum Meet';
  }, []);

  function submit(): void {
    const missing = linked === undefined ? missingEntry(name, room) : '';
    setProblem(missing);
    if (missing === '') {
      if (linked === undefined) {
        saveName(name.trim());
      }
      onJoin({ ...devices, room: room.trim(), name: name.trim() });
    }
  }

  return (
    <main className="lobby">
      <form
        className="lobby-card"
        aria-busy={joining}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <header className="lobby-header">
          <img src="./icon.svg" alt="" width="40" height="40" />
          <div>
            <h1>Plenum Meet</h1>
            <p>{hasDevices ? 'Check your camera and microphone, then join.' : 'Enter your name, then join.'}</p>
          </div>
        </header>
        <p className="lobby-notice" role="alert" hidden={(problem || notice) === ''}>
          {problem || notice}
        </p>
        {hasDevices ? (
          <DevicePreview choices={devices} onChange={setDevices} onFailure={deviceFailed} />
        ) : (
          <p className="lobby-hint">
            Your browser gives camera and microphone to pages over HTTPS or on localhost only. Here you can watch,
            listen and chat.
          </p>
        )}
        <div className="lobby-fields">
          <Field
            label="Your name"
            name="username"
            value={name}
            locked={linked !== undefined}
            onChange={setName}
            focus
          />
          <Field label="Room" name="room" value={room} locked={linked !== undefined} onChange={setRoom} />
        </div>
        <button className="lk-button lobby-join" type="submit" disabled={joining}>
          {joining ? 'Joining…' : 'Join the meeting'}
        </button>
      </form>
    </main>
  );
}

function missingEntry(name: string, room: string): string {
  if (name.trim() === '') {
    return 'Please enter your name.';
  }
  return room.trim() === '' ? 'Please enter a room name.' : '';
}

type FieldProps = {
  label: string;
  name: string;
  value: string;
  /** The invitation link has decided it. */
  locked: boolean;
  focus?: boolean;
  onChange: (value: string) => void;
};

function Field({ label, name, value, locked, focus = false, onChange }: FieldProps) {
  if (locked && value === '') {
    // A damaged link says nothing; the server will tell.
    return null;
  }
  return (
    <label className="lobby-field">
      <span>{label}</span>
      <input
        className="lk-form-control"
        name={name}
        value={value}
        maxLength={256}
        readOnly={locked}
        autoFocus={focus && value === ''}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => onChange(event.target.value)}
      />
    </label>
  );
}

function roomOfAddress(): string {
  return new URLSearchParams(window.location.search).get('room') ?? 'demo';
}

/** Browsers hide cameras and microphones from pages that came over plain HTTP from another machine. */
function devicesAvailable(): boolean {
  return window.isSecureContext && navigator.mediaDevices !== undefined;
}
