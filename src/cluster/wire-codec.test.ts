import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeMessage, EncodedMessage, encodeMessage } from './wire-codec.ts';

describe('wire codec', () => {
  it('leaves out what is undefined', () => {
    assert.deepEqual(decodeMessage(encodeMessage({ kind: 'a', gone: undefined, list: [{ gone: undefined }] })), {
      kind: 'a',
      list: [{}],
    });
  });

  it('lets a participant call an attribute `__proto__` without harm to anybody', () => {
    const attributes: unknown = JSON.parse('{"__proto__":"x","constructor":"y"}');
    const decoded = decodeMessage(encodeMessage({ attributes })) as { attributes: Record<string, unknown> };
    assert.equal(Object.getPrototypeOf(decoded.attributes), Object.prototype);
    assert.deepEqual(Object.entries(decoded.attributes), [
      ['__proto', 'x'],
      ['constructor', 'y'],
    ]);
  });

  it('gives bytes as views of what it read', () => {
    const encoded = encodeMessage({ bytes: new Uint8Array(1_000) });
    const { bytes } = decodeMessage(encoded) as { bytes: Uint8Array };
    assert.equal(bytes.buffer, encoded.buffer);
  });

  it('gives results that later messages do not overwrite', () => {
    const first = encodeMessage({ number: 1, text: 'first' });
    encodeMessage({ number: 2, text: 'other' });
    encodeMessage({ bytes: new Uint8Array(1_000_000) });
    assert.deepEqual(decodeMessage(first), { number: 1, text: 'first' });
  });

  it('refuses what is no MessagePack, and goes on', () => {
    for (const hex of ['', 'c1', '81', '8101', '81a161', 'ddffffffff', 'dfffffffff', 'c6ffffffff00', 'c0c0']) {
      assert.throws(() => decodeMessage(Buffer.from(hex, 'hex')), { reason: 'relay-bad-message' }, hex);
    }
    assert.deepEqual(decodeMessage(encodeMessage({ ok: true })), { ok: true });
  });

  it('encodes a message for many once, and only when it is asked to', () => {
    let reads = 0;
    const message = new EncodedMessage({
      get kind(): string {
        reads += 1;
        return 'a';
      },
    });
    assert.equal(reads, 0);
    const { bytes } = message;
    const readsOnce = reads;
    assert.ok(readsOnce > 0);
    assert.equal(message.bytes, bytes);
    assert.equal(reads, readsOnce);
    assert.deepEqual(decodeMessage(message.bytes), { kind: 'a' });
  });
});
