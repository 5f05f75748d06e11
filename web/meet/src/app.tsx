import type { DisconnectReason } from 'livekit-client';
import { useCallback, useState } from 'react';
import { describeDisconnect } from './end-text.ts';
import { fetchToken, linkedToken } from './join-token.ts';
import { Lobby, type Choices } from './lobby.tsx';
import { Meeting } from './meeting.tsx';

type Session = { token: string; choices: Choices };

/** Lobby, then the meeting, then the lobby again with the reason why the meeting ended. */
export function App() {
  const [session, setSession] = useState<Session>();
  const [notice, setNotice] = useState('');
  const [joining, setJoining] = useState(false);
  const [linked] = useState(() => linkedToken(window.location));

  const join = useCallback(
    async (choices: Choices): Promise<void> => {
      setJoining(true);
      setNotice('');
      try {
        const token = linked?.token ?? (await fetchToken(choices.room, choices.name));
        rememberRoom(linked === undefined ? choices.room : undefined);
        setSession({ token, choices });
      } catch (error) {
        setNotice(error instanceof Error ? error.message : String(error));
      } finally {
        setJoining(false);
      }
    },
    [linked],
  );
  const leave = useCallback((reason?: DisconnectReason): void => {
    setSession(undefined);
    // What a failed join said about itself stays.
    setNotice((before) => describeDisconnect(reason) || before);
  }, []);
  const fail = useCallback((text: string): void => {
    setSession(undefined);
    setNotice(text);
  }, []);

  return session === undefined ? (
    <Lobby linked={linked} notice={notice} joining={joining} onJoin={(choices) => void join(choices)} />
  ) : (
    <Meeting token={session.token} choices={session.choices} onLeave={leave} onFail={fail} />
  );
}

/** The address bar always holds the link that brings others into the same room. */
function rememberRoom(room: string | undefined): void {
  if (room !== undefined) {
    const url = new URL(window.location.href);
    url.searchParams.set('room', room);
    window.history.replaceState(null, '', url);
  }
}
