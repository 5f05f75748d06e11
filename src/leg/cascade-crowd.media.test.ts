import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { FakeHost, subscriptionTo } from '../../test/kit/fake-host.ts';
import { LegParticipant } from '../../test/kit/leg-participant.ts';
import { LightEndpoint } from '../../test/kit/light/light-endpoint.ts';
import { LogRecord } from '../../test/kit/log-record.ts';
import { startTestPool } from '../../test/kit/media-pool.ts';
import { PeerLinks } from '../../test/kit/peer-links.ts';
import { until } from '../../test/kit/until.ts';
import { configSchema } from '../config/options.ts';
import type { RoomRouter } from '../media/room-router.ts';
import type { WorkerPool } from '../media/worker-pool.ts';
import { nodeId, type NodeId } from '../protocol/ids.ts';
import type { ActualPublication, Quality } from '../protocol/leg-messages.ts';
import { LegNode } from './leg-node.ts';

const subscribersPerNode = 30;
const perWorker = 16;
/** All at once come through a handshake each, on whatever the machine has left. */
const patience = { timeoutMs: 30_000 };

type Place = { id: NodeId; host: FakeHost; node: LegNode; pool: WorkerPool };

describe('one publisher and sixty subscribers over two workers of each of two nodes', () => {
  const log = new LogRecord();
  const links = new PeerLinks();
  let endpoint: LightEndpoint;
  let one: Place;
  let two: Place;
  let publisher: LegParticipant;
  let video: ActualPublication;
  let near: LegParticipant[];
  let far: LegParticipant[];

  before(async () => {
    endpoint = await LightEndpoint.start();
    one = await createPlace('one', 52_700);
    two = await createPlace('two', 52_710);
    publisher = await join(one, 'publisher');
    [video] = (await publisher.publish([
      publisher.publisher.addVideo({ simulcast: true, width: 1280, height: 720 }),
    ])) as [ActualPublication];
    near = await crowd(one, 'near');
    far = await crowd(two, 'far');
  });

  after(async () => {
    await Promise.all([one, two].map(({ node }) => node.close()));
    await Promise.all([one, two].map(({ pool }) => pool.close()));
    await endpoint.close();
    assert.deepEqual(log.unexpectedErrors(), []);
  });

  async function createPlace(name: string, portRangeStart: number): Promise<Place> {
    const id = nodeId(name);
    const pool = await startTestPool({ workers: 2, portRangeStart, portRangeEnd: 52_800 });
    const config = configSchema.parse({ rtc: { max_viewers_per_worker: perWorker } });
    const node = new LegNode({
      nodeId: id,
      pool,
      config,
      log: log.logger(),
      peers: links.connector(id),
      peerTimings: { requestTimeoutMs: 5000, graceMs: 300, reconnectMs: 20 },
    });
    links.add(id, node);
    return { id, host: new FakeHost(node), node, pool };
  }

  async function join(place: Place, name: string): Promise<LegParticipant> {
    const participant = new LegParticipant(place.host, endpoint, name);
    await participant.wait(() => (participant.subscriber.peer.connected ? '' : 'not connected'), patience);
    return participant;
  }

  async function crowd(place: Place, name: string): Promise<LegParticipant[]> {
    const names = Array.from({ length: subscribersPerNode }, (_, index) => `${name}${index}`);
    return Promise.all(names.map((each) => join(place, each)));
  }

  async function receive(participants: LegParticipant[]): Promise<void> {
    for (const participant of participants) {
      participant.subscribe([subscriptionTo(video, publisher.leg)]);
    }
    await Promise.all(
      participants.map(async (participant) => {
        await participant.bound(patience);
        await participant.subscriber.peer.watch(participant.ssrcOf(video.trackSid), {
          contiguousMs: 500,
          keyFrame: true,
          ...patience,
        });
      }),
    );
  }

  const routers = (...places: Place[]) =>
    places.flatMap(({ pool }) => pool.workers).flatMap((worker) => [...worker.routers]);

  it('spreads them so that no worker has more than its number', () => {
    // The publisher has a transport in each direction.
    const legs = routers(one, two).map((router) => router.transports.size);
    assert.deepEqual(
      legs.toSorted((left, right) => left - right),
      [14, 15, 16, 17],
    );
  });

  it('brings contiguous media and a key frame to each, with one copy per other worker', async () => {
    await receive([...near, ...far]);
    const dumps = await Promise.all(routers(one, two).map((router) => router.dump()));
    const copies = dumps.map((dump) => dump.mapProducerIdConsumerIds.length);
    assert.deepEqual(copies, [1, 1, 1, 1]);
    assert.ok(mostCopiesSent(dumps) <= perWorker + 3, 'a worker sends one track too often');
    const piped = routers(one, two).flatMap((router) => [...router.pipeEnds]);
    assert.equal(piped.length, 6, 'three pipes with two ends each');
  });

  it('spreads the viewers of a track in the same way whose publisher was there after them', async () => {
    const late = near[0];
    assert.ok(late !== undefined);
    const [sound] = await late.publish([late.publisher.addAudio({})]);
    assert.ok(sound !== undefined);
    const others = [...near, ...far].filter((participant) => participant !== late);
    for (const participant of others) {
      participant.subscribe([subscriptionTo(video, publisher.leg), subscriptionTo(sound, late.leg)]);
    }
    await Promise.all(others.map((participant) => participant.bound(patience)));
    const dumps = await Promise.all(routers(one, two).map((router) => router.dump()));
    assert.ok(mostCopiesSent(dumps) <= perWorker + 3, 'a worker sends one track too often');
    for (const participant of others) {
      participant.subscribe([subscriptionTo(video, publisher.leg)]);
    }
    await Promise.all(others.map((participant) => participant.bound(patience)));
  });

  it('gives each the layer that it wants', async () => {
    const all = [...near, ...far];
    const quality = (index: number): Quality => ([0, 1, 2] as const)[index % 3] ?? 0;
    all.forEach((participant, index) => {
      participant.subscribe([subscriptionTo(video, publisher.leg, { quality: quality(index) })]);
    });
    await until(async () => {
      const widths = await Promise.all(
        all.map(async (participant, index) => {
          const { streams } = await participant.subscriber.peer.stats();
          const width = streams.find(({ ssrc }) => ssrc === participant.ssrcOf(video.trackSid))?.width;
          return width === 320 * 2 ** quality(index) ? 0 : 1;
        }),
      );
      const wrong = widths.reduce<number>((sum, count) => sum + count, 0);
      return wrong === 0 ? '' : `${wrong} have another layer`;
    }, patience);
  });

  it('takes in those of a node that died, while the others go on', async () => {
    log.expectErrors(/media worker died/);
    links.isolate(two.id);
    for (const worker of two.pool.workers) {
      process.kill(worker.pid, 'SIGKILL');
    }
    await receive(await crowd(one, 'again'));
    await until(() => (one.node.pipeCounts.outgoingPipes === 1 ? '' : `${one.node.pipeCounts.outgoingPipes} pipes`));
    const stats = await near[0]?.subscriber.peer.stats();
    const stream = stats?.streams.find(({ ssrc }) => ssrc === near[0]?.ssrcOf(video.trackSid));
    assert.ok(stream !== undefined && stream.runMs > 500, JSON.stringify(stream));
  });
});

/** Viewers of one track on one worker, and the pipes to the three other workers. */
function mostCopiesSent(dumps: Awaited<ReturnType<RoomRouter['dump']>>[]): number {
  return Math.max(...dumps.flatMap((dump) => dump.mapProducerIdConsumerIds.map(({ values }) => values.length)));
}
