import { signalResponseToJson } from '../protocol/signal.ts';

/** One message for any number of sockets: the host's bytes for binary receivers, its JSON made once when somebody needs it. */
export class SignalFrame {
  readonly binary: Uint8Array;
  #text: string | undefined;

  constructor(binary: Uint8Array) {
    this.binary = binary;
  }

  get text(): string {
    this.#text ??= signalResponseToJson(this.binary);
    return this.#text;
  }
}
