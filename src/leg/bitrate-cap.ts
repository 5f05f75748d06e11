import type { PeerTransport } from '../media/peer-transport.ts';

/** What congestion control may send to a client at most: as wanted, and as its transport was told. */
export class BitrateCap {
  /** Bit/s; 0 = no cap. */
  bitrateBps = 0;
  #appliedBps = 0;

  async apply(transport: Pick<PeerTransport, 'setMaxOutgoingBitrate'>): Promise<void> {
    if (this.bitrateBps !== this.#appliedBps) {
      this.#appliedBps = this.bitrateBps;
      await transport.setMaxOutgoingBitrate(this.bitrateBps);
    }
  }
}
