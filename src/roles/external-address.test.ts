import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, it } from 'node:test';
import { loadConfig } from '../config/load.ts';
import { createLog } from '../observe/log.ts';
import { withExternalAddress } from './external-address.ts';

const log = createLog({ level: 'error', json: true });
const address = [203, 0, 113, 7];

/** An answer by the letters of RFC 8489: an attribute to skip, then the address, masked by the magic cookie. */
function answerTo(request: Buffer): Buffer {
  const software = Buffer.from([0x80, 0x22, 0x00, 0x05, ...Buffer.from('tests'), 0, 0, 0]);
  const masked = address.map((byte, index) => byte ^ ([0x21, 0x12, 0xa4, 0x42][index] ?? 0));
  const mapped = Buffer.from([0x00, 0x20, 0x00, 0x08, 0, 1, 0x12, 0x34, ...masked]);
  const header = Buffer.concat([
    Buffer.from([0x01, 0x01, 0x00, software.length + mapped.length]),
    request.subarray(4, 20),
  ]);
  return Buffer.concat([header, software, mapped]);
}

describe('rtc.use_external_ip', () => {
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.close();
  });

  /** @param lost requests that it leaves without an answer */
  async function stunServer(lost: number): Promise<string> {
    const socket = createSocket('udp4');
    sockets.push(socket);
    let asked = 0;
    socket.on('message', (request, from) => {
      asked += 1;
      if (asked > lost) {
        // Neither another transaction's answer nor garbage counts.
        const foreign = answerTo(Buffer.alloc(20, 7));
        for (const message of [Buffer.from('garbage'), foreign, answerTo(request)])
          socket.send(message, from.port, from.address);
      }
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return `127.0.0.1:${socket.address().port}`;
  }

  const configOf = (rtc: object): ReturnType<typeof loadConfig> =>
    loadConfig({ overrides: { keys: { a: 'b' }, rtc: { use_external_ip: true, ...rtc } } });

  it('announces the address that a STUN server sees, also when packets are lost and another server is away', async () => {
    const servers = [await stunServer(1), '127.0.0.1:9'];
    const { rtc } = await withExternalAddress(configOf({ stun_servers: servers }), 'media', log);
    assert.deepEqual(rtc.node_ip, ['203.0.113.7']);
  });

  it('asks nobody on masters, and where the address is known', async () => {
    const config = configOf({ stun_servers: ['192.0.2.1:1'] });
    assert.equal(await withExternalAddress(config, 'master', log), config);
    const known = configOf({ node_ip: '192.0.2.9' });
    assert.deepEqual((await withExternalAddress(known, 'all', log)).rtc.node_ip, ['192.0.2.9']);
  });

  it('says what to do when nobody answers', async () => {
    const silent = await stunServer(Number.POSITIVE_INFINITY);
    await assert.rejects(withExternalAddress(configOf({ stun_servers: [silent] }), 'all', log), {
      reason: 'no-external-address',
      message: /rtc\.node_ip/,
    });
  });
});
