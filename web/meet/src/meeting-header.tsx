import { useParticipants, useRoomInfo } from '@livekit/components-react';
import { useEffect, useState } from 'react';

const confirmationMs = 2_000;

export function MeetingHeader() {
  const { name } = useRoomInfo();
  const count = useParticipants().length;
  useEffect(() => {
    document.title = name === '' ? 'Plenum Meet' : `${name} – Plenum Meet`;
  }, [name]);
  return (
    <header className="meeting-header">
      <img src="./icon.svg" alt="" width="24" height="24" />
      <h1 title={name}>{name || 'Joining…'}</h1>
      <span className="meeting-count">{count === 1 ? 'only you' : `${count} people`}</span>
      <InviteButton />
    </header>
  );
}

function InviteButton() {
  const [state, setState] = useState<'idle' | 'copied' | 'refused'>('idle');
  const link = invitation();
  useEffect(() => {
    const timer = state === 'idle' ? undefined : setTimeout(() => setState('idle'), confirmationMs);
    return () => clearTimeout(timer);
  }, [state]);
  if (link === undefined) {
    return null;
  }
  return (
    <button
      className="lk-button meeting-invite"
      type="button"
      onClick={() => {
        copy(link).then(
          () => setState('copied'),
          () => setState('refused'),
        );
      }}
    >
      <span aria-live="polite">
        {state === 'copied' ? 'Link copied' : state === 'refused' ? 'Copy the address instead' : 'Copy invitation link'}
      </span>
    </button>
  );
}

async function copy(text: string): Promise<void> {
  // Not there on pages over plain HTTP from another machine.
  if (navigator.clipboard === undefined) {
    throw new Error('no clipboard');
  }
  await navigator.clipboard.writeText(text);
}

/** A link with a personal token must not be passed on. */
function invitation(): string | undefined {
  return new URLSearchParams(window.location.search).has('token') ? undefined : window.location.href;
}
