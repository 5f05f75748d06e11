import type { RawData, WebSocket } from 'ws';
import { answerPing, peekSignalRequest, signalRequestFromJson } from '../protocol/signal.ts';
import { type CloseFrame, closeFrameOf, sanitizeCloseFrame, type SocketEnd } from './close-codes.ts';
import { MessageBudget, signalBudget } from './message-budget.ts';
import type { GatewayObserver } from './observer.ts';
import { SignalFrame } from './signal-frame.ts';

export type SignalSocketOptions = {
  socket: WebSocket;
  /** Bytes that may wait for the client to read them. */
  queueLimitBytes: number;
  observer: GatewayObserver;
  /** A protobuf `SignalRequest` other than a ping; a copy that may be kept. */
  onSignal: (message: Uint8Array) => void;
  /** Called once; nothing is received or sent after it. */
  onEnd: (end: SocketEnd) => void;
};

/** The open socket of one client: formats, pings, bounds. It knows nothing about rooms. */
export class SignalSocket {
  readonly #socket: WebSocket;
  readonly #options: SignalSocketOptions;
  readonly #budget: MessageBudget;
  /** Answers go out in the format of the last message that came; browsers and rtc-node never send text. */
  #format: 'binary' | 'json' = 'binary';
  #heardAtMs: number;
  #pingedAtMs: number;
  #ended = false;

  constructor(options: SignalSocketOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#heardAtMs = performance.now();
    this.#pingedAtMs = this.#heardAtMs;
    this.#budget = new MessageBudget(signalBudget, this.#heardAtMs);
    this.#socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    this.#socket.on('ping', () => this.#heard());
    this.#socket.on('pong', () => this.#heard());
    this.#socket.on('error', (error) => this.#end(endOfError(error)));
    this.#socket.on('close', () => this.#end('client-closed'));
  }

  send(frame: SignalFrame): void {
    if (this.#ended) {
      return;
    }
    const payload = this.#format === 'binary' ? frame.binary : frame.text;
    if (this.#socket.bufferedAmount + payload.length > this.#options.queueLimitBytes) {
      this.#end('slow-client');
      return;
    }
    this.#socket.send(payload);
  }

  /** The room host wants it closed, after everything that was sent before. */
  closeForHost(frame: CloseFrame): void {
    this.#end('host-closed', sanitizeCloseFrame(frame));
  }

  close(end: 'host-lost' | 'gateway-shutdown' | 'bad-message'): void {
    this.#end(end);
  }

  /** To be called about once a second. */
  tick(nowMs: number, timings: { pingIntervalMs: number; pingTimeoutMs: number }): void {
    if (this.#ended) {
      return;
    }
    if (nowMs - this.#heardAtMs >= timings.pingTimeoutMs) {
      this.#end('ping-timeout');
    } else if (nowMs - this.#pingedAtMs >= timings.pingIntervalMs) {
      this.#pingedAtMs = nowMs;
      this.#socket.ping();
    }
  }

  #heard(): void {
    this.#heardAtMs = performance.now();
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#ended) {
      return;
    }
    this.#heard();
    // The library's default binary type delivers every message as one Buffer.
    const bytes = data as Buffer;
    this.#options.observer.signalReceived(bytes.length);
    if (!this.#budget.take(bytes.length, this.#heardAtMs)) {
      this.#end('too-many-messages');
      return;
    }
    this.#format = isBinary ? 'binary' : 'json';
    // The copy frees the network chunk that the message is a slice of.
    const message = isBinary ? new Uint8Array(bytes) : signalRequestFromJson(bytes.toString('utf8'));
    if (message === undefined) {
      this.#end('bad-message');
    } else {
      this.#handle(message);
    }
  }

  #handle(message: Uint8Array): void {
    const peek = peekSignalRequest(message);
    switch (peek.kind) {
      case 'ping':
      case 'pingReq':
        this.#answerPing(message);
        break;
      case 'message':
        this.#options.onSignal(message);
        break;
      case 'empty':
        break;
      case 'malformed':
        this.#end('bad-message');
        break;
      default:
        peek satisfies never;
    }
  }

  #answerPing(message: Uint8Array): void {
    const answer = answerPing(message, Date.now());
    if (answer === undefined) {
      this.#end('bad-message');
    } else {
      this.send(new SignalFrame(answer));
    }
  }

  #end(end: SocketEnd, hostFrame?: CloseFrame): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    const frame = hostFrame ?? (end === 'host-closed' ? undefined : closeFrameOf(end));
    if (frame !== undefined) {
      // A client that does not answer is cut by the library after its close timeout.
      this.#socket.close(frame.code, frame.reason);
    } else if (end === 'ping-timeout') {
      this.#socket.terminate();
    }
    this.#options.onEnd(end);
  }
}

/** The WebSocket library names its own findings; everything else is the network. */
function endOfError(error: Error & { code?: string }): SocketEnd {
  const code = error.code ?? '';
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' || code === 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH') {
    return 'message-too-large';
  }
  return code.startsWith('WS_ERR_') ? 'bad-message' : 'client-closed';
}
