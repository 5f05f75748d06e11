import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LightClient } from './light-client.ts';
import { LightEndpoint } from './light/light-endpoint.ts';
import { startNodeProcess } from './node.ts';
import { joinToken } from './tokens.ts';

it('starts a server process that takes a call, and stops it in order', async () => {
  const node = await startNodeProcess();
  const endpoint = await LightEndpoint.start();
  const client = await LightClient.join({
    url: node.url,
    token: await joinToken({ room: 'process', identity: 'only' }),
    endpoint,
  });
  assert.equal(client.joinResponse.room?.name, 'process');
  await client.leave();
  await endpoint.close();
  await node.close();
  await assert.rejects(fetch(node.url));
});

it('tells clients of a killed server process nothing, and their sockets close', async () => {
  const node = await startNodeProcess();
  const endpoint = await LightEndpoint.start();
  const client = await LightClient.join({
    url: node.url,
    token: await joinToken({ room: 'process', identity: 'only' }),
    endpoint,
  });
  await node.kill();
  await client.waitFor(() => client.socketCloseCode !== undefined, 'end of the socket');
  assert.equal(client.leaveReceived, undefined);
  await client.abandon();
  await endpoint.close();
});
