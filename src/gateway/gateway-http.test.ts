import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ClientInfo_SDK, JoinRequest, WrappedJoinRequest } from '@livekit/protocol';
import { PlenumError } from '../lib/errors.ts';
import { accessToken, startGateway, type TestGateway, until } from './gateway-test-kit.ts';
import { Gateway } from './gateway.ts';
import type { TwirpRequest } from './twirp-route.ts';

async function ask(
  gateway: TestGateway,
  path: string,
  init: RequestInit = {},
): Promise<{ answer: string; headers: Headers }> {
  const response = await fetch(`${gateway.http}${path}`, { redirect: 'manual', ...init });
  assert.equal(response.headers.get('access-control-allow-origin'), '*', `CORS on ${path}`);
  return { answer: `${response.status} ${await response.text()}`, headers: response.headers };
}

async function answerTo(gateway: TestGateway, path: string, init: RequestInit = {}): Promise<string> {
  return (await ask(gateway, path, init)).answer;
}

function rawRequest(gateway: TestGateway, text: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(gateway.gateway.port, '127.0.0.1', () => socket.write(text));
  let received = '';
  socket.setEncoding('utf8').on('data', (chunk) => (received += chunk));
  socket.on('error', () => undefined).on('close', () => resolve(received));
  return promise;
}

describe('health', () => {
  it('answers GET and HEAD with CORS, and 406 with the reason when the node is not ready', async () => {
    await using gateway = await startGateway();
    assert.equal(await answerTo(gateway, '/'), '200 OK');
    assert.equal(await answerTo(gateway, '/', { method: 'HEAD' }), '200 ');
    assert.equal(await answerTo(gateway, '/', { method: 'POST' }), '405 method not allowed');
    await using sick = await startGateway({ health: () => ({ ready: false, body: 'Not Ready\nNode Updated At 1' }) });
    assert.equal(await answerTo(sick, '/'), '406 Not Ready\nNode Updated At 1');
  });
});

describe('CORS', () => {
  it('answers preflights for any path and header', async () => {
    await using gateway = await startGateway();
    const headers = { origin: 'https://app.example', 'access-control-request-headers': 'authorization,content-type' };
    const preflight = await ask(gateway, '/twirp/livekit.RoomService/ListRooms', { method: 'OPTIONS', headers });
    assert.equal(preflight.answer, '204 ');
    assert.equal(preflight.headers.get('access-control-allow-headers'), 'authorization,content-type');
    assert.equal(preflight.headers.get('access-control-allow-methods'), 'OPTIONS, HEAD, GET, POST, PATCH, DELETE');
    assert.equal(preflight.headers.get('access-control-max-age'), '86400');
  });
});

describe('token check', () => {
  it('refuses a bad token on every route with the texts of the contract', async () => {
    await using gateway = await startGateway();
    for (const path of ['/', '/rtc/validate', '/rtc/v1/validate', '/twirp/livekit.RoomService/ListRooms', '/nowhere']) {
      const basic = { headers: { authorization: 'Basic abc' } };
      assert.equal(await answerTo(gateway, path, basic), '401 invalid authorization header. Must start with Bearer ');
      assert.equal(await answerTo(gateway, `${path}?access_token=x`), '401 invalid authorization token');
    }
  });

  it('lets the header win over the query', async () => {
    await using gateway = await startGateway();
    const headers = { authorization: `Bearer ${accessToken()}` };
    assert.equal(await answerTo(gateway, '/rtc/validate?access_token=broken', { headers }), '200 success');
  });
});

describe('/rtc without a socket', () => {
  it('validates what a join would be', async () => {
    await using gateway = await startGateway();
    assert.equal(await answerTo(gateway, '/rtc/validate'), '401 permissions denied');
    assert.equal(await answerTo(gateway, `/rtc/validate?access_token=${accessToken()}`), '200 success');
    assert.equal(await answerTo(gateway, `//rtc/validate?access_token=${accessToken()}`), '200 success');
    assert.equal(
      await answerTo(gateway, `/rtc/validate?access_token=${accessToken({ sub: '' })}`),
      '400 identity cannot be empty',
    );
    assert.deepEqual(gateway.host.received, []);
  });

  it('knows missing rooms when rooms are not made by joining, except for resumes and those who may create', async () => {
    await using gateway = await startGateway({ settings: { room: { auto_create: false } } });
    const creator = accessToken({ video: { roomJoin: true, room: 'hall', roomCreate: true } });
    assert.equal(
      await answerTo(gateway, `/rtc/validate?access_token=${accessToken()}`),
      '404 requested room does not exist',
    );
    assert.equal(await answerTo(gateway, `/rtc/validate?access_token=${creator}`), '200 success');
    assert.equal(
      await answerTo(gateway, `/rtc/validate?reconnect=1&sid=PA_x&access_token=${accessToken()}`),
      '200 success',
    );
    gateway.host.rooms.add('hall');
    assert.equal(await answerTo(gateway, `/rtc/validate?access_token=${accessToken()}`), '200 success');
  });

  it('answers 404 where single peer connection and plain requests are not served', async () => {
    await using gateway = await startGateway();
    assert.equal(await answerTo(gateway, '/rtc'), '404 ');
    assert.equal(await answerTo(gateway, '/rtc/v1'), '404 ');
    assert.equal(await answerTo(gateway, `/rtc/v1/validate?access_token=${accessToken()}`), '404 not found');
    assert.equal(await answerTo(gateway, '/nowhere'), '404 not found');
  });
});

describe('/rtc/v1/validate', () => {
  it('says what a join would be told, where single peer connection is served', async () => {
    await using gateway = await startGateway({ settings: { rtc: { single_peer_connection: true } } });
    const path = `/rtc/v1/validate?access_token=${accessToken()}`;
    assert.equal(await answerTo(gateway, path), '400 join_request is required');
    const requestOf = (sdk: ClientInfo_SDK): string => {
      const joinRequest = new JoinRequest({ clientInfo: { sdk } }).toBinary();
      return Buffer.from(new WrappedJoinRequest({ joinRequest }).toBinary()).toString('base64url');
    };
    assert.equal(await answerTo(gateway, `${path}&join_request=${requestOf(ClientInfo_SDK.PYTHON)}`), '200 success');
    assert.equal(
      await answerTo(gateway, `${path}&join_request=${requestOf(ClientInfo_SDK.SWIFT)}`),
      '404 not found',
      'a kind of client that was never tried on one connection uses two',
    );
    assert.equal(await answerTo(gateway, '/rtc/v1/validate'), '401 permissions denied');
    assert.equal(await answerTo(gateway, '/rtc/v1'), '404 ');
  });
});

describe('/twirp', () => {
  it('hands on path, type, body and claims, and answers as the handler says', async () => {
    const calls: TwirpRequest[] = [];
    await using gateway = await startGateway({
      twirp: (call) => {
        calls.push(call);
        return Promise.resolve({ status: 404, contentType: 'application/json', body: '{"code":"not_found"}' });
      },
    });
    const reply = await ask(gateway, '//twirp/livekit.RoomService/ListRooms', {
      method: 'POST',
      body: '{"names":[]}',
      headers: { authorization: `Bearer ${accessToken()}`, 'content-type': 'application/json;charset=UTF-8' },
    });
    assert.equal(reply.answer, '404 {"code":"not_found"}');
    assert.equal(reply.headers.get('content-type'), 'application/json');
    const [call] = calls;
    assert.equal(call?.path, '/twirp/livekit.RoomService/ListRooms');
    assert.equal(call.contentType, 'application/json;charset=UTF-8');
    assert.equal(Buffer.from(call.body).toString(), '{"names":[]}');
    assert.equal(call.claims?.identity, 'alice');
    assert.equal(call.signal.aborted, false);
    await answerTo(gateway, '/twirp/a/b', { method: 'POST' });
    assert.equal('claims' in (calls[1] ?? {}), false);
  });

  it('answers other methods and a failing handler as Twirp errors', async () => {
    await using gateway = await startGateway({ twirp: () => Promise.reject(new Error('boom')) });
    assert.match(await answerTo(gateway, '/twirp/a/b'), /^404 \{"code":"bad_route"/);
    assert.equal(
      await answerTo(gateway, '/twirp/a/b', { method: 'POST' }),
      '500 {"code":"internal","msg":"internal error"}',
    );
  });

  it('refuses bodies over the limit, announced or not', async () => {
    await using gateway = await startGateway({ settings: { limit: { max_api_request_body_size: 1000 } } });
    const announced = 'POST /twirp/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n';
    assert.match(await rawRequest(gateway, announced), /^HTTP\/1\.1 413 [\s\S]*request body too large$/);
    const chunk = `400\r\n${'x'.repeat(1024)}\r\n`;
    const chunked = `POST /twirp/a/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`;
    assert.match(await rawRequest(gateway, chunked), /^HTTP\/1\.1 413 [\s\S]*request body too large$/);
    assert.equal(await answerTo(gateway, '/twirp/a/b', { method: 'POST', body: 'x'.repeat(1000) }), '200 {}');
  });

  it('aborts the call when its client goes away', async () => {
    let signal: AbortSignal | undefined;
    await using gateway = await startGateway({
      twirp: (call) => {
        signal = call.signal;
        return new Promise((_resolve, reject) => {
          call.signal.addEventListener('abort', () => reject(new Error('aborted')));
        });
      },
    });
    const client = request(`${gateway.http}/twirp/a/b`, { method: 'POST' }).on('error', () => undefined);
    client.end('x');
    await until('the call', () => signal);
    client.destroy();
    await until('the abort', () => signal?.aborted === true);
  });
});

describe('meeting page', () => {
  it('is served under /meet/ and found by browsers that ask for /', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'plenum-page-'));
    try {
      await mkdir(join(directory, 'assets'));
      await writeFile(join(directory, 'index.html'), '<h1>meet</h1>');
      await writeFile(join(directory, 'assets', 'app-1a2b.js'), `export const text = '${'x'.repeat(5000)}';`);
      await using gateway = await startGateway({ staticDir: directory });
      const page = await ask(gateway, '/meet/');
      assert.equal(page.answer, '200 <h1>meet</h1>');
      assert.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
      assert.equal(page.headers.get('cache-control'), 'no-cache');
      const script = await ask(gateway, '/meet/assets/app-1a2b.js');
      assert.equal(script.headers.get('content-encoding'), 'gzip');
      assert.match(script.headers.get('cache-control') ?? '', /immutable/);
      const etag = script.headers.get('etag') ?? '';
      assert.equal(await answerTo(gateway, '/meet/assets/app-1a2b.js', { headers: { 'if-none-match': etag } }), '304 ');
      assert.equal(await answerTo(gateway, '/meet/assets/none.js'), '404 not found');
      assert.equal(await answerTo(gateway, '/meet/..%2f..%2fetc/passwd'), '404 not found');
      const browser = await ask(gateway, '/', { headers: { accept: 'text/html,*/*' } });
      assert.equal(browser.headers.get('location'), '/meet/');
      assert.equal(await answerTo(gateway, '/'), '200 OK');
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('cannot be framed, runs no script but its own, and tells nobody its address, which holds a token', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'plenum-page-'));
    try {
      await writeFile(join(directory, 'index.html'), '<h1>meet</h1>');
      await using gateway = await startGateway({ staticDir: directory });
      for (const target of ['/meet/', '/meet/none.js', '/meet/token']) {
        const { headers } = await ask(gateway, target);
        const policy = headers.get('content-security-policy') ?? '';
        assert.match(policy, /default-src 'self'.*frame-ancestors 'none'.*object-src 'none'/, target);
        assert.doesNotMatch(policy, /script-src|unsafe-eval/, target);
        assert.equal(headers.get('referrer-policy'), 'no-referrer', target);
        assert.equal(headers.get('x-content-type-options'), 'nosniff', target);
        assert.equal(headers.get('x-frame-options'), 'DENY', target);
        // Plain HTTP: a browser must not be told to come by HTTPS alone.
        assert.equal(headers.get('strict-transport-security'), null, target);
      }
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('gets tokens where the operator allows it', async () => {
    await using gateway = await startGateway({
      meetToken: (body) => ({ status: 200, body: { token: Buffer.from(body).toString() } }),
    });
    assert.equal(await answerTo(gateway, '/meet/token', { method: 'POST', body: 'x' }), '200 {"token":"x"}');
    assert.equal(await answerTo(gateway, '/meet/token'), '405 method not allowed');
    assert.equal(
      await answerTo(gateway, '/meet/token', { method: 'POST', body: 'x'.repeat(20_000) }),
      '413 request body too large',
    );
    await using closed = await startGateway();
    assert.equal(await answerTo(closed, '/meet/token', { method: 'POST', body: 'x' }), '404 not found');
  });

  it('is missing without harm when it was not built', async () => {
    await using gateway = await startGateway({ staticDir: '/nonexistent' });
    assert.equal(await answerTo(gateway, '/meet/'), '404 not found');
    assert.equal(await answerTo(gateway, '/', { headers: { accept: 'text/html' } }), '200 OK');
  });
});

describe('connections', () => {
  it('takes request lines of 64 kB and refuses endless headers', async () => {
    await using gateway = await startGateway();
    assert.equal(await answerTo(gateway, `/?x=${'y'.repeat(65_536)}`), '200 OK');
    assert.match(
      await rawRequest(gateway, `GET /?x=${'y'.repeat(200_000)} HTTP/1.1\r\nHost: x\r\n\r\n`),
      /^HTTP\/1\.1 431 /,
    );
  });

  it('treats an offer of HTTP/2 as an ordinary request', async () => {
    await using gateway = await startGateway();
    const text = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n';
    assert.match(await rawRequest(gateway, text), /^HTTP\/1\.1 200 [\s\S]*OK$/);
  });

  it('refuses malformed requests without falling over', async () => {
    await using gateway = await startGateway();
    for (const text of [
      '\0\0\0\r\n\r\n',
      'GET http://[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
      'GET / HTTP/9\r\n\r\n',
    ]) {
      assert.match(await rawRequest(gateway, text), /^HTTP\/1\.1 400 /, JSON.stringify(text));
    }
    assert.equal(await answerTo(gateway, '/'), '200 OK');
  });

  it('turns away connections over the limit with 503', async () => {
    await using gateway = await startGateway({ settings: { limit: { max_connections: 2 } } });
    const held = [1, 2].map(() => connect(gateway.gateway.port, '127.0.0.1').on('error', () => undefined));
    await until('two connections', () => gateway.observer.connections === 2);
    assert.match(await rawRequest(gateway, ''), /^HTTP\/1\.1 503 [\s\S]*too many connections$/);
    assert.equal(gateway.observer.rejected, 1);
    for (const socket of held) {
      socket.destroy();
    }
    await until('the connections to end', () => gateway.observer.connections === 0);
    assert.equal(await answerTo(gateway, '/'), '200 OK');
  });

  it('listens on several addresses with one port and says which address is taken', async () => {
    await using gateway = await startGateway({ settings: { bind_addresses: ['127.0.0.1', '127.0.0.2'] } });
    const { port } = gateway.gateway;
    assert.equal((await fetch(`http://127.0.0.2:${port}/`)).status, 200);
    await assert.rejects(
      startGateway({ settings: { bind_addresses: ['127.0.0.3', '127.0.0.2'], port } }),
      (error) =>
        error instanceof PlenumError && error.reason === 'listen-failed' && error.message.includes('127.0.0.2'),
    );
    await assert.rejects(fetch(`http://127.0.0.3:${port}/`), 'a failed start listens nowhere');
    assert.ok(gateway.gateway instanceof Gateway);
  });
});
