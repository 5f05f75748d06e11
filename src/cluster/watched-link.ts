import type { Link, LinkCloseReason } from './link.ts';

/** A link whose end somebody else hears of too, before its user. */
export function watchedLink<Out, In>(link: Link<Out, In>, ended: (reason: LinkCloseReason) => void): Link<Out, In> {
  return {
    send: (message, epoch) => link.send(message, epoch),
    onMessage: (receive) => link.onMessage(receive),
    onClose: (closed) =>
      link.onClose((reason) => {
        ended(reason);
        closed(reason);
      }),
    close: () => link.close(),
  };
}

/** A link that came to nothing. */
export function lostLink<Out, In>(): Link<Out, In> {
  return {
    send: () => undefined,
    onMessage: () => undefined,
    onClose: (closed) => closed('lost'),
    close: () => undefined,
  };
}
