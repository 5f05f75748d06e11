/** One end of an ordered, bounded message link between two parts of Plenum; what it carries is plain serialisable data. */
export interface Link<Out, In> {
  /**
   * Never blocks. Messages past the bound close the link with reason `overflow`.
   * @param epoch of the room that the message speaks for, where the link may reach another node; see `EpochGuard`
   */
  send(message: Out, epoch?: number): void;
  /** Exactly one receiver; set it before the first message can arrive. */
  onMessage(receive: (message: In, epoch?: number) => void): void;
  /** Called once when either end closes or the link breaks. */
  onClose(closed: (reason: LinkCloseReason) => void): void;
  close(): void;
}

export type LinkCloseReason = 'closed' | 'overflow' | 'lost';
