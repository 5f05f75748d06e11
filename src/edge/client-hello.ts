/**
 * What a TLS client says before anything is encrypted (RFC 8446, 4.1.2): for whom it comes. npm's packages for this want
 * the whole hello in one record, and wait for ever when the connection ends in the middle of it.
 */

export type ClientHello =
  | { kind: 'incomplete' }
  | { kind: 'not-tls' }
  /** `serverName` is empty when the client names none, as with addresses; in lower case otherwise. */
  | { kind: 'hello'; serverName: string };

const handshakeRecord = 22;
const clientHello = 1;
const serverNameExtension = 0;
const recordHeader = 5;
/** Post-quantum key shares make hellos of 2 kB; more than a full record is nonsense. */
const maxHelloBytes = 16 * 1024;

/** @param bytes the beginning of the connection */
export function readClientHello(bytes: Buffer): ClientHello {
  const read = joinRecords(bytes);
  if (Buffer.isBuffer(read)) {
    return readHello(read);
  }
  return read;
}

/** The handshake message that begins in the first record and may go on in the next ones. */
function joinRecords(bytes: Buffer): Buffer | { kind: 'incomplete' | 'not-tls' } {
  const parts: Buffer[] = [];
  let gatheredBytes = 0;
  for (let at = 0; ;) {
    if ((bytes[at] ?? handshakeRecord) !== handshakeRecord || (bytes[at + 1] ?? 3) !== 3) {
      return { kind: 'not-tls' };
    }
    if (bytes.length < at + recordHeader) {
      return { kind: 'incomplete' };
    }
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0) {
      return { kind: 'not-tls' };
    }
    parts.push(bytes.subarray(at + recordHeader, at + recordHeader + length));
    gatheredBytes += length;
    at += recordHeader + length;
    const message = Buffer.concat(parts);
    if (message.length >= 4) {
      const wantedBytes = 4 + message.readUIntBE(1, 3);
      if (message[0] !== clientHello || wantedBytes > maxHelloBytes) {
        return { kind: 'not-tls' };
      }
      if (message.length >= wantedBytes) {
        return message.subarray(4, wantedBytes);
      }
    }
    if (message.length < gatheredBytes) {
      return { kind: 'incomplete' };
    }
  }
}

function readHello(hello: Buffer): ClientHello {
  try {
    const reader = new Reader(hello);
    reader.skip(2 + 32);
    reader.skip(reader.byte());
    reader.skip(reader.word());
    reader.skip(reader.byte());
    const end = reader.isAtEnd ? 0 : reader.word() + reader.at;
    while (reader.at < end) {
      const type = reader.word();
      const extension = reader.take(reader.word());
      if (type === serverNameExtension) {
        return { kind: 'hello', serverName: readServerName(extension) };
      }
    }
    return { kind: 'hello', serverName: '' };
  } catch (error) {
    if (error instanceof RangeError) {
      return { kind: 'not-tls' };
    }
    throw error;
  }
}

/** RFC 6066, 3: a list of which only the first host name counts. */
function readServerName(extension: Buffer): string {
  const reader = new Reader(extension);
  reader.skip(2);
  const isHostName = reader.byte() === 0;
  const name = reader.take(reader.word()).toString('latin1').toLowerCase();
  return isHostName ? name : '';
}

/** Throws RangeError past the end, as Buffer's own readers do. */
class Reader {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  word(): number {
    return this.#bytes.readUInt16BE(this.#advance(2));
  }

  take(length: number): Buffer {
    const at = this.#advance(length);
    return this.#bytes.subarray(at, at + length);
  }

  skip(length: number): void {
    this.#advance(length);
  }

  #advance(length: number): number {
    const { at } = this;
    if (at + length > this.#bytes.length) {
      throw new RangeError('past the end');
    }
    this.at += length;
    return at;
  }
}
