import { ChatCloseIcon, ChatEntry, type useChat } from '@livekit/components-react';
import { useEffect, useRef, useState } from 'react';

type ChatPanelProps = { chat: ReturnType<typeof useChat>; onClose: () => void };

/** A line with name and time comes again after this pause. */
const groupWithinMs = 60_000;

export function ChatPanel({ chat, onClose }: ChatPanelProps) {
  const { chatMessages, send, isSending } = chat;
  const [draft, setDraft] = useState('');
  const list = useRef<HTMLUListElement>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [chatMessages]);
  useEffect(() => input.current?.focus(), []);

  async function submit(): Promise<void> {
    const text = draft.trim();
    if (text !== '' && !isSending) {
      setDraft('');
      // What could not be sent comes back into the field.
      await send(text).catch(() => setDraft(text));
    }
  }

  return (
    <aside className="chat" aria-label="Chat">
      <header className="chat-header">
        <h2>Chat</h2>
        <button className="lk-button" type="button" aria-label="Close the chat" onClick={onClose}>
          <ChatCloseIcon aria-hidden="true" />
        </button>
      </header>
      <ul className="lk-list chat-messages" ref={list} role="log" aria-live="polite">
        {chatMessages.length === 0 ? (
          <li className="chat-empty">No messages yet. Everybody here can read them.</li>
        ) : null}
        {chatMessages.map((message, index) => {
          const previous = chatMessages[index - 1];
          const follows =
            previous !== undefined &&
            previous.from === message.from &&
            message.timestamp - previous.timestamp < groupWithinMs;
          return <ChatEntry key={message.id ?? index} entry={message} hideName={follows} hideTimestamp={follows} />;
        })}
      </ul>
      <form
        className="chat-form"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <input
          className="lk-form-control"
          ref={input}
          name="message"
          aria-label="Message"
          placeholder="Write a message"
          autoComplete="off"
          value={draft}
          onChange={(event) => setDraft(event.target.value)}
        />
        <button className="lk-button chat-send" type="submit">
          Send
        </button>
      </form>
    </aside>
  );
}
