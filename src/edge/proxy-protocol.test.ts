import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readProxyHeader } from './proxy-protocol.ts';

const signature2 = '0d0a0d0a000d0a515549540a';
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('a PROXY header', () => {
  it('of version 1 names the client', () => {
    const line = 'PROXY TCP4 198.51.100.7 192.0.2.1 50000 443\r\n';
    const header = { kind: 'header', address: '198.51.100.7', lengthBytes: line.length };
    assert.deepEqual(readProxyHeader(Buffer.from(`${line}rest`)), header);
    const line6 = 'PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n';
    const header6 = { kind: 'header', address: '2001:db8::7', lengthBytes: line6.length };
    assert.deepEqual(readProxyHeader(Buffer.from(line6)), header6);
    const unknown = { kind: 'header', address: undefined, lengthBytes: 15 };
    assert.deepEqual(readProxyHeader(Buffer.from('PROXY UNKNOWN\r\n')), unknown);
  });

  it('of version 2 names the client, and none for the checks of a load balancer', () => {
    const v4 = hex(`${signature2} 21 11 000c c6336407 c0000201 c350 01bb`);
    assert.deepEqual(readProxyHeader(v4), { kind: 'header', address: '198.51.100.7', lengthBytes: 28 });
    const v6 = hex(
      `${signature2} 21 21 0024 20010db8000000000000000000000007 20010db8000000000000000000000001 c350 01bb`,
    );
    assert.deepEqual(readProxyHeader(v6), { kind: 'header', address: '2001:db8:0:0:0:0:0:7', lengthBytes: 52 });
    const local = hex(`${signature2} 20 00 0000`);
    assert.deepEqual(readProxyHeader(local), { kind: 'header', address: undefined, lengthBytes: 16 });
    const withMore = hex(`${signature2} 21 11 0010 c6336407 c0000201 c350 01bb 04000100`);
    assert.deepEqual(readProxyHeader(withMore), { kind: 'header', address: '198.51.100.7', lengthBytes: 32 });
  });

  it('is awaited while it comes in pieces, and is not there before a TLS hello', () => {
    for (const whole of [
      Buffer.from('PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n'),
      hex(`${signature2} 21 11 000c c6336407 c0000201 c350 01bb`),
    ])
      for (let length = 1; length < whole.length; length += 1)
        assert.deepEqual(readProxyHeader(whole.subarray(0, length)), { kind: 'incomplete' }, String(length));
    assert.deepEqual(readProxyHeader(hex('160301')), { kind: 'none' });
  });

  it('that is malformed or endless is refused', () => {
    assert.deepEqual(readProxyHeader(Buffer.from('PROXY TCP4 nonsense x 1 2\r\n')), { kind: 'bad' });
    assert.deepEqual(readProxyHeader(Buffer.from('PROXY TCP4 2001:db8::1 x 1 2\r\n')), { kind: 'bad' });
    assert.deepEqual(readProxyHeader(Buffer.from(`PROXY ${'x'.repeat(200)}`)), { kind: 'bad' });
    assert.deepEqual(readProxyHeader(hex(`${signature2} 31 11 000c`)), { kind: 'bad' });
    assert.deepEqual(readProxyHeader(hex(`${signature2} 21 11 ffff`)), { kind: 'bad' });
  });

  it('never makes the reader throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        readProxyHeader(Buffer.from(bytes));
        readProxyHeader(Buffer.concat([hex(signature2), bytes]));
        readProxyHeader(Buffer.concat([Buffer.from('PROXY '), bytes, Buffer.from('\r\n')]));
      }),
    );
  });
});
