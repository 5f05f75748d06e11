/** MessagePack of plain messages: maps, lists, texts, numbers, flags and bytes. */
import { Decoder, Encoder, type DecoderOptions } from '@msgpack/msgpack';
import { badMessage } from './relay-errors.ts';

const initialBufferBytes = 4 * 1024;
/** An encoder keeps the buffer of its largest message; past this one is made for the message alone. */
const maxKeptBufferBytes = 256 * 1024;
const maxEntries = 1_000_000;
const refusedKey = '__proto__';

type KeyDecoder = NonNullable<DecoderOptions['keyDecoder']>;

/** A field that is `undefined` is left out, as in JSON. */
class ReusedEncoder {
  #encoder = newEncoder();

  encode(message: unknown): Uint8Array {
    const encoded = this.#encoder.encode(message);
    if (encoded.length > maxKeptBufferBytes) {
      this.#encoder = newEncoder();
    }
    return encoded;
  }
}

function newEncoder(): Encoder {
  return new Encoder({ ignoreUndefined: true, initialBufferSize: initialBufferBytes });
}

const encoder = new ReusedEncoder();

/**
 * Participants choose the keys of attributes. The decoder refuses `__proto__`, and one refused message would cost everybody
 * on this connection their session, so this one key arrives under a harmless name.
 */
const harmlessKeys: KeyDecoder = {
  canBeCached: (byteLength) => byteLength === refusedKey.length,
  decode: (bytes, offset, byteLength) => {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset + offset, byteLength).toString('utf8');
    return key === refusedKey ? '__proto' : key;
  },
};

const decoder = new Decoder({ maxArrayLength: maxEntries, maxMapLength: maxEntries, keyDecoder: harmlessKeys });

/** @throws Error when the message holds what is no plain data. */
export function encodeMessage(message: unknown): Uint8Array {
  return encoder.encode(message);
}

/**
 * Bytes in the result are views of `encoded`, which therefore must not be reused.
 * @throws PlenumError `relay-bad-message`
 */
export function decodeMessage(encoded: Uint8Array): unknown {
  try {
    return decoder.decode(encoded);
  } catch (error) {
    throw badMessage(error instanceof Error ? error.message : String(error), error);
  }
}

/** A message for several links: encoded when the first of them needs it, and once. It must not be changed after that. */
export class EncodedMessage<Message> {
  readonly message: Message;
  #bytes: Uint8Array | undefined;

  constructor(message: Message) {
    this.message = message;
  }

  get bytes(): Uint8Array {
    this.#bytes ??= encodeMessage(this.message);
    return this.#bytes;
  }
}
