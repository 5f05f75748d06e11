import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import fc from 'fast-check';
import { readClientHello } from './client-hello.ts';

/** What Node's own TLS says first. */
async function helloFor(options: { servername?: string; ALPNProtocols?: string[] }): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [NodeJS.ReadableStream & { destroy(): void }];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

/** The same message in records of at most that many bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 0xff]), part);
  }
  return Buffer.concat(records);
}

describe('the first words of a TLS client', () => {
  it('name the server, in lower case, and nothing for an address', async () => {
    assert.deepEqual(readClientHello(await helloFor({ servername: 'Turn.Example.COM' })), {
      kind: 'hello',
      serverName: 'turn.example.com',
    });
    assert.deepEqual(readClientHello(await helloFor({})), { kind: 'hello', serverName: '' });
  });

  it('are understood in pieces, and when they are spread over records', async () => {
    const hello = await helloFor({ servername: 'turn.example.com', ALPNProtocols: ['http/1.1'] });
    const expected = { kind: 'hello', serverName: 'turn.example.com' };
    for (const size of [1, 7, 100]) {
      const bytes = inRecords(hello, size);
      for (const length of [0, 1, 4, 5, 6, 40, bytes.length - 1])
        assert.deepEqual(readClientHello(bytes.subarray(0, length)), { kind: 'incomplete' }, `${size} ${length}`);
      assert.deepEqual(readClientHello(bytes), expected);
    }
    assert.deepEqual(readClientHello(Buffer.concat([hello, Buffer.from('and more')])), expected);
  });

  it('are told from HTTP, SSH and a hello that promises too much', () => {
    for (const text of ['GET / HTTP/1.1\r\n', 'SSH-2.0-x', '\x16\x02', '\x16\x03\x01\x00\x00'])
      assert.deepEqual(readClientHello(Buffer.from(text, 'latin1')), { kind: 'not-tls' }, text);
    assert.deepEqual(readClientHello(Buffer.from('160301400001ffffff', 'hex')), { kind: 'not-tls' });
  });

  it('never make the reader throw, whatever is changed in them', async () => {
    const hello = await helloFor({ servername: 'turn.example.com' });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { maxLength: 20 }), (changes) => {
        const bytes = Buffer.from(hello);
        for (const [at, value] of changes) bytes[at] = value;
        readClientHello(bytes);
      }),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        readClientHello(Buffer.from([22, 3, 1, ...bytes]));
      }),
      { numRuns: 2_000 },
    );
  });
});
