/** One end of an ordered, bounded message link between two parts of Plenum; what it carries is plain serialisable data. */
export interface Link<Out, In> {
  /** Never blocks. Messages past the bound close the link with reason `overflow`. */
  send(message: Out): void;
  /** Exactly one receiver; set it before the first message can arrive. */
  onMessage(receive: (message: In) => void): void;
  /** Called once when either end closes or the link breaks. */
  onClose(closed: (reason: LinkCloseReason) => void): void;
  close(): void;
}

export type LinkCloseReason = 'closed' | 'overflow' | 'lost';
