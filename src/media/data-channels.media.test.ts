import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { DataPage, numberedMessage } from '../../test/kit/data-page.ts';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { UdpRelay, type PathOptions } from '../../test/kit/udp-relay.ts';
import { until } from '../../test/kit/until.ts';
import { routerCodecs } from '../sdp/capabilities.ts';
import type { DataPublisher, PublishedMessage } from './data-publisher.ts';
import type { DataSubscriber } from './data-subscriber.ts';
import { engineCounts } from './engine-counts.ts';
import { dataChannelLabels, maxMessageBytes } from './media-types.ts';
import type { PeerTransport } from './peer-transport.ts';
import type { RoomRouter } from './room-router.ts';
import type { WorkerPool } from './worker-pool.ts';

const ascending = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

describe('data channels', () => {
  let page: DataPage;
  let pool: WorkerPool;
  let router: RoomRouter;
  const relays: UdpRelay[] = [];
  let names = 0;

  before(async () => {
    page = await DataPage.start();
    pool = await startTestPool({ reliableQueueBytes: 16_000_000, iceConsentTimeoutSeconds: 5 });
  });

  after(async () => {
    await page.close();
    await pool.close();
  });

  beforeEach(async () => {
    router = await pool.leastLoaded().createRouter({ mediaCodecs: routerCodecs(['audio/opus']) });
  });

  afterEach(async () => {
    router.close();
    for (const relay of relays.splice(0)) {
      relay.close();
    }
    const counts = await engineCounts(pool);
    assert.equal(counts.routers, 0);
  });

  async function subscribe(
    path?: PathOptions,
  ): Promise<{ name: string; transport: PeerTransport; data: DataSubscriber; relay: UdpRelay | undefined }> {
    names += 1;
    const name = `subscriber${names}`;
    const transport = await router.createPeerTransport();
    const data = await transport.openDataSubscriber();
    const relay = path === undefined ? undefined : await relayTo(transport, path);
    const local =
      relay === undefined
        ? transport.local
        : {
            ...transport.local,
            candidates: transport.local.candidates
              .filter((entry) => entry.protocol === 'udp')
              .map((entry) => ({ ...entry, port: relay.port })),
          };
    await transport.connect(await page.answer(name, local));
    await until(() => dataChannelLabels.filter((label) => !data.isOpen(label)).join(' '));
    return { name, transport, data, relay };
  }

  async function relayTo(transport: PeerTransport, down: PathOptions): Promise<UdpRelay> {
    const port = transport.local.candidates[0]?.port ?? 0;
    const relay = await UdpRelay.start({
      target: { address: '127.0.0.1', port },
      down,
      up: { delayMs: down.delayMs ?? 0, loss: down.loss ?? 0 },
      seed: 3,
    });
    relays.push(relay);
    return relay;
  }

  async function publish(
    labels: readonly { label: string; lossy: boolean }[],
  ): Promise<{ name: string; data: DataPublisher; messages: PublishedMessage[] }> {
    names += 1;
    const name = `publisher${names}`;
    const transport = await router.createPeerTransport();
    const data = await transport.openDataPublisher();
    const messages: PublishedMessage[] = [];
    data.on('message', (message) => messages.push(message));
    await transport.connect(await page.offer(name, labels));
    await page.acceptAnswer(name, transport.local);
    await until(async () => JSON.stringify(await page.channels(name)).match(/connecting/)?.[0] ?? '');
    return { name, data, messages };
  }

  it('tells the label of each channel that a client opens, whatever their order', async () => {
    for (const labels of [
      ['_lossy', '_reliable', '_data_track'],
      ['_reliable', '_lossy', '_data_track'],
    ]) {
      const { name, data, messages } = await publish(labels.map((label) => ({ label, lossy: label !== '_reliable' })));
      for (const label of labels) {
        await page.send(name, label, { count: 3, sizeBytes: 1000 });
      }
      await until(() => (messages.length === 9 ? '' : `${messages.length} of 9 messages`));
      assert.deepEqual([...data.labels.values()].toSorted(), labels.toSorted());
      for (const label of labels) {
        assert.equal(messages.filter((message) => message.label === label).length, 3);
      }
      assert.equal(messages[0]?.payload.byteLength, 1000);
    }
  });

  it('opens the three channels on odd stream ids and delivers on each', async () => {
    const { name, data } = await subscribe();
    await until(async () => (Object.keys(await page.channels(name)).length === 3 ? '' : 'not all channels are there'));
    assert.deepEqual(await page.channels(name), {
      _reliable: { state: 'open', id: 1, ordered: true },
      _lossy: { state: 'open', id: 3, ordered: false },
      _data_track: { state: 'open', id: 5, ordered: false },
    });
    for (const label of dataChannelLabels) {
      data.send(label, numberedMessage(7, 20));
      await until(async () => ((await page.receivedCount(name, label)) === 1 ? '' : `nothing on ${label}`));
    }
  });

  it('connects over TCP', async () => {
    const transport = await router.createPeerTransport();
    const data = await transport.openDataSubscriber();
    await transport.connect(
      await page.answer('tcp', {
        ...transport.local,
        candidates: transport.local.candidates.filter((entry) => entry.protocol === 'tcp'),
      }),
    );
    await until(() => (data.isOpen('_lossy') ? '' : 'not open'));
    assert.equal(transport.state, 'connected');
  });

  it('tells when the path to the client is gone, when it is back and when the client left', async () => {
    const { name, transport, data, relay } = await subscribe({});
    const states: string[] = [];
    transport.on('state', (state) => states.push(state));
    relay?.stop();
    data.send('_reliable', numberedMessage(1, 100));
    await until(() => (transport.state === 'disconnected' ? '' : transport.state));
    relay?.setUp({});
    relay?.setDown({});
    await until(() => (transport.state === 'connected' ? '' : transport.state));
    await until(async () =>
      (await page.receivedCount(name, '_reliable')) === 1 ? '' : 'the message sent meanwhile is lost',
    );
    await page.closePeer(name);
    await until(() => (transport.state === 'failed' ? '' : transport.state));
    assert.deepEqual(states, ['disconnected', 'connected', 'failed']);
  });

  it('opens lossy channels although packets with their OPEN get lost', async () => {
    const { name } = await subscribe({ loss: 0.3 });
    await until(async () => (Object.keys(await page.channels(name)).length === 3 ? '' : 'not all channels are there'));
  });

  it('delivers to exactly the receivers that were named', async () => {
    const subscribers = await Promise.all([subscribe(), subscribe(), subscribe(), subscribe()]);
    const bus = await router.dataBus();
    const sets = [[0, 1, 2, 3], [1, 2, 3], [0, 3], [2]];
    sets.forEach((set, number) => {
      bus.send({
        label: '_reliable',
        payload: numberedMessage(number, 50),
        receivers: set.map((index) => subscribers[index]?.data).filter((data) => data !== undefined),
      });
    });
    for (const [index, { name }] of subscribers.entries()) {
      const expected = ascending(sets.length).filter((number) => sets[number]?.includes(index));
      await until(async () => {
        const { numbers } = await page.received(name, '_reliable');
        return JSON.stringify(numbers) === JSON.stringify(expected)
          ? ''
          : `${name} got ${numbers.join()} instead of ${expected.join()}`;
      });
    }
  });

  it('keeps reliable messages that were sent before the channel was open', async () => {
    const transport = await router.createPeerTransport();
    const data = await transport.openDataSubscriber();
    for (const number of ascending(50)) {
      data.send('_reliable', numberedMessage(number, 1000));
    }
    assert.equal(data.counters('_reliable').queuedMessages, 50);
    await transport.connect(await page.answer('early', transport.local));
    await until(async () => ((await page.receivedCount('early', '_reliable')) === 50 ? '' : 'not all arrived'));
    assert.deepEqual((await page.received('early', '_reliable')).numbers, ascending(50));
  });

  it('brings a burst of 600 reliable messages of 15 KB to fast and slow readers whole and in order, and closes one that never reads', async () => {
    const fast = await subscribe();
    const slow = await subscribe({ rateBps: 24_000_000, delayMs: 5 });
    const lossy = await subscribe({ loss: 0.01, delayMs: 1 });
    const silent = await subscribe({});
    const stuck: string[] = [];
    silent.data.once('stuck', (reason) => {
      stuck.push(reason);
      silent.transport.close();
    });
    silent.relay?.stop();
    const receivers = [fast.data, slow.data, lossy.data, silent.data];
    const bus = await router.dataBus();
    for (const number of ascending(600)) {
      bus.send({ label: '_reliable', payload: numberedMessage(number, 15_000), receivers });
    }
    // The one that does not read holds less than its bound; a second burst goes beyond.
    assert.deepEqual(stuck, []);
    for (const number of ascending(600)) {
      silent.data.send('_reliable', numberedMessage(number, 15_000));
    }
    assert.deepEqual(stuck, ['queue-full']);
    assert.equal(silent.data.closed, true);
    for (const { name } of [fast, slow, lossy]) {
      await until(
        async () => {
          const count = await page.receivedCount(name, '_reliable');
          return count === 600 ? '' : `${name} has ${count} of 600`;
        },
        { timeoutMs: 20_000, intervalMs: 100 },
      );
      assert.deepEqual((await page.received(name, '_reliable')).numbers, ascending(600));
    }
    assert.equal(fast.data.counters('_reliable').queuedBytes, 0);
  });

  it('keeps lossy data young and memory flat when five times more is sent than the path carries', async () => {
    const { name, data } = await subscribe({ rateBps: 500_000, delayMs: 20 });
    const workerBefore = (await pool.usage())[0]?.rssBytes ?? 0;
    let number = 0;
    let seen = 0;
    const sendAndAge = async (): Promise<number> => {
      const endsAtMs = performance.now() + 6000;
      while (performance.now() < endsAtMs) {
        // 2.5 Mbit/s.
        for (let index = 0; index < 3; index += 1) {
          data.send('_lossy', numberedMessage(number, 1040));
          number += 1;
        }
        await delay(10);
      }
      const { agesMs } = await page.received(name, '_lossy');
      const p99 = percentile(agesMs.slice(seen), 0.99);
      seen = agesMs.length;
      return p99;
    };
    // Ages include what a busy machine adds; a queue that builds up would show in every round.
    let p99 = await sendAndAge();
    for (let round = 1; p99 >= 300 && round < 3; round += 1) p99 = await sendAndAge();
    const { agesMs, bytes } = await page.received(name, '_lossy');
    const workerGrowth = ((await pool.usage())[0]?.rssBytes ?? 0) - workerBefore;
    assert.ok(p99 < 300, `p99 age is ${p99} ms over ${agesMs.length} of ${number} messages`);
    assert.ok(bytes > 180_000, `only ${bytes} bytes of the 375000 that fit arrived`);
    assert.ok(workerGrowth < 6_000_000, `the worker grew by ${workerGrowth} bytes`);
  });

  it('drops and counts what is larger than a channel carries', async () => {
    const { name, data } = await subscribe();
    const bus = await router.dataBus();
    data.send('_reliable', numberedMessage(1, maxMessageBytes + 1));
    data.send('_reliable', numberedMessage(2, 60_000));
    await until(async () => ((await page.receivedCount(name, '_reliable')) > 0 ? '' : 'nothing arrived'));
    assert.deepEqual((await page.received(name, '_reliable')).numbers, [2]);
    assert.equal(bus.oversized, 1);
  });

  it('reports a client that closes its connection as stuck, once', async () => {
    const { name, data, transport } = await subscribe();
    const events: string[] = [];
    data.on('stuck', (reason) => events.push(reason));
    await page.closePeer(name);
    await until(() => (events.length > 0 ? '' : 'no event'));
    data.send('_reliable', numberedMessage(1, 100));
    transport.close();
    assert.deepEqual(events, ['association-closed']);
  });
});
