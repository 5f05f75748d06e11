import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { register } from 'prom-client';
import { createLog } from './log.ts';
import { Metrics } from './metrics.ts';
import { startMetricsServer, type MetricsServer } from './metrics-server.ts';

type Sample = { name: string; labels: Record<string, string>; value: number };

/** Reads Prometheus's text format, strictly: any other line is a fault. */
function parseText(text: string): { samples: Sample[]; help: Map<string, string> } {
  const samples: Sample[] = [];
  const help = new Map<string, string>();
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const [, comment, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (comment !== undefined) {
      if (comment === 'HELP') {
        help.set(name, rest);
      }
      continue;
    }
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    assert.ok(sample, `not a sample: ${line}`);
    const labels = Object.fromEntries(
      [...(sample[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', value = '']) => [key, value]),
    );
    samples.push({ name: sample[1] ?? '', labels, value: Number(sample[3]) });
  }
  return { samples, help };
}

async function read(metrics: Metrics): Promise<ReturnType<typeof parseText>> {
  return parseText(await metrics.registry.metrics());
}

function valueOf(samples: Sample[], name: string, labels: Record<string, string> = {}): number | undefined {
  return samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  )?.value;
}

function createMetrics(): Metrics {
  return new Metrics({ nodeId: 'ND_test', nodeType: 'SERVER' });
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 5_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadlineMs, 'the condition was not met in time');
  }
}

describe('Metrics', () => {
  it('counts a call under LiveKit’s names, with the node as constant labels', async () => {
    const metrics = createMetrics();
    const { rooms } = metrics;
    const carried = {
      published: { audio: 2, video: 1 },
      subscribed: { audio: 0, video: 4 },
      copies: 2,
      queuedDataBytes: 300,
    };
    metrics.watchCalls(() => ({ rooms: 1, participants: 3, carried }));
    rooms.participantActive(120);
    rooms.participantAborted();
    rooms.trackPublished('video');
    rooms.participantLeft(60_000);
    rooms.roomClosed(61);
    const { samples } = await read(metrics);
    assert.ok(samples.every(({ labels }) => labels['node_id'] === 'ND_test' && labels['node_type'] === 'SERVER'));
    const value = (name: string, labels?: Record<string, string>): number | undefined => valueOf(samples, name, labels);
    assert.equal(value('livekit_room_total'), 1);
    assert.equal(value('livekit_room_duration_seconds_sum'), 61);
    assert.equal(value('livekit_participant_total'), 3);
    assert.equal(value('livekit_participant_join_total', { state: 'rtc_connected' }), 1);
    assert.equal(value('livekit_participant_join_total', { state: 'rtc_failed' }), 1);
    assert.equal(value('livekit_session_join_latency_ms_bucket', { le: '150' }), 1);
    assert.equal(value('livekit_session_join_latency_ms_bucket', { le: '100' }), 0);
    assert.equal(value('livekit_session_duration_ms_sum'), 60_000);
    assert.equal(value('livekit_track_publish_counter', { kind: 'video', state: 'success' }), 1);
    assert.equal(value('livekit_track_published_total', { kind: 'audio' }), 2);
    assert.equal(value('livekit_track_subscribed_total', { kind: 'video' }), 4);
    assert.equal(value('plenum_track_copies'), 2);
    assert.equal(value('plenum_data_queue_bytes'), 300);
  });

  it('counts media, data, sockets, API requests and webhooks', async () => {
    const metrics = createMetrics();
    metrics.legs.mediaMeasured({
      direction: 'outgoing',
      packets: 10,
      retransmittedPackets: 1,
      sizeBytes: 12_000,
      nackedPackets: 3,
      plis: 2,
      firs: 0,
    });
    metrics.legs.dataDropped('lossy-backlog', 4);
    metrics.legs.slowSubscriberClosed();
    metrics.gateway.connectionOpened();
    metrics.gateway.connectionRejected();
    metrics.gateway.requestAnswered('validate', 401);
    metrics.gateway.joinAnswered(101, 30);
    metrics.gateway.socketOpened();
    metrics.gateway.socketEnded('slow-client');
    metrics.gateway.signalReceived(10);
    metrics.gateway.signalSent(100, 3);
    metrics.twirp.requestFinished({
      service: 'RoomService',
      method: 'ListRooms',
      status: 200,
      code: 'ok',
      latencyMs: 7,
    });
    metrics.twirp.requestFinished({
      service: 'RoomService',
      method: 'ListRooms',
      status: 404,
      code: 'not_found',
      latencyMs: 7,
    });
    metrics.webhook.queueChanged(2);
    metrics.webhook.dispatched('room_started', 'delivered');
    metrics.webhook.dispatched('invented', 'failed');
    const { samples } = await read(metrics);
    const value = (name: string, labels?: Record<string, string>): number | undefined => valueOf(samples, name, labels);
    assert.equal(value('livekit_packet_total', { direction: 'outgoing', transmission: 'initial' }), 10);
    assert.equal(value('livekit_packet_total', { direction: 'outgoing', transmission: 'retransmit' }), 1);
    assert.equal(value('livekit_packet_bytes', { direction: 'outgoing' }), 12_000);
    assert.equal(value('livekit_nack_total', { direction: 'outgoing' }), 3);
    assert.equal(value('livekit_pli_total', { direction: 'outgoing' }), 2);
    assert.equal(value('plenum_data_packets_dropped_total', { reason: 'lossy-backlog' }), 4);
    assert.equal(value('livekit_participant_join_total', { state: 'signal_connected' }), 1);
    assert.equal(value('plenum_slow_clients_closed_total', { channel: 'data' }), 1);
    assert.equal(value('plenum_slow_clients_closed_total', { channel: 'signal' }), 1);
    assert.equal(value('plenum_http_connections'), 1);
    assert.equal(value('plenum_http_connections_rejected_total'), 1);
    assert.equal(value('plenum_http_requests_total', { route: 'validate', status: '401' }), 1);
    assert.equal(value('plenum_signal_join_answer_ms_bucket', { status: '101', le: '50' }), 1);
    assert.equal(value('plenum_signal_connections'), 0);
    assert.equal(value('plenum_signal_connections_ended_total', { end: 'slow-client' }), 1);
    assert.equal(value('plenum_signal_messages_total', { direction: 'outgoing' }), 3);
    assert.equal(value('livekit_node_messages', { type: 'signal', status: 'success', direction: 'response' }), 3);
    assert.equal(value('plenum_signal_bytes_total', { direction: 'outgoing' }), 300);
    assert.equal(value('livekit_node_twirp_request_status', { status: '200', code: '' }), 1);
    assert.equal(value('livekit_node_twirp_request_status', { status: '4xx', code: 'not_found' }), 1);
    assert.equal(value('livekit_webhook_queue_length'), 2);
    assert.equal(value('livekit_webhook_dispatch_total', { event: 'other', status: 'failed' }), 1);
  });

  it('counts nodes by state, and what is left on those that are drained', async () => {
    const metrics = createMetrics();
    let drains = [{ nodeId: 'ND_one', rooms: 3, participants: 7 }];
    metrics.watchNodes(
      () => ['SERVING', 'DRAINING', 'SERVING'],
      () => drains,
    );
    const { samples } = await read(metrics);
    assert.equal(valueOf(samples, 'plenum_nodes', { state: 'SERVING' }), 2);
    assert.equal(valueOf(samples, 'plenum_nodes', { state: 'DRAINING' }), 1);
    assert.equal(valueOf(samples, 'plenum_drain_rooms', { drained_node: 'ND_one' }), 3);
    assert.equal(valueOf(samples, 'plenum_drain_participants', { drained_node: 'ND_one' }), 7);
    drains = [];
    assert.equal(valueOf((await read(metrics)).samples, 'plenum_drain_rooms'), undefined);
  });

  it('asks for the usage of workers at each scrape, and forgets those that are gone', async () => {
    const metrics = createMetrics();
    let workers = ['0', '1'];
    metrics.workers.sampleWith(() =>
      Promise.resolve(workers.map((worker) => ({ worker, cpuSeconds: 2.5, residentBytes: 1_000 }))),
    );
    const first = (await read(metrics)).samples;
    assert.equal(valueOf(first, 'plenum_worker_cpu_seconds_total', { worker: '1' }), 2.5);
    assert.equal(valueOf(first, 'plenum_worker_resident_bytes', { worker: '1' }), 1_000);
    workers = ['0'];
    const second = (await read(metrics)).samples;
    assert.equal(valueOf(second, 'plenum_worker_cpu_seconds_total', { worker: '0' }), 2.5);
    assert.equal(valueOf(second, 'plenum_worker_resident_bytes', { worker: '0' }), 1_000);
    assert.equal(valueOf(second, 'plenum_worker_cpu_seconds_total', { worker: '1' }), undefined);
    metrics.workers.sampleWith(() => Promise.reject(new Error('worker is gone')));
    assert.equal(valueOf((await read(metrics)).samples, 'plenum_worker_cpu_seconds_total', { worker: '0' }), undefined);
  });

  it('says how late the event loop was, anew at each scrape', async () => {
    const metrics = createMetrics();
    const lag = async (): Promise<number> =>
      valueOf((await read(metrics)).samples, 'plenum_event_loop_lag_seconds', { quantile: '1' }) ?? Number.NaN;
    await until(async () => {
      // After a scrape the monitor's first timer only starts a measurement, so the loop turns before it is blocked.
      await delay(30);
      const blockedUntilMs = performance.now() + 200;
      while (performance.now() < blockedUntilMs);
      await delay(30);
      return (await lag()) > 0.15;
    });
    await until(async () => {
      await delay(1);
      return (await lag()) < 0.15;
    });
    metrics.close();
    metrics.close();
  });

  it('explains each metric and touches no global registry', async () => {
    const { help } = await read(createMetrics());
    assert.ok(help.size > 25);
    for (const [name, text] of help) {
      assert.match(name, /^(livekit|plenum)_/);
      assert.match(text, /^[A-Z].+\.$/);
    }
    assert.deepEqual(register.getMetricsAsArray(), []);
  });
});

describe('metrics server', () => {
  const servers: MetricsServer[] = [];

  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  it('serves the text to GET on any path and nothing else', async () => {
    const metrics = createMetrics();
    metrics.watchCalls(() => ({
      rooms: 1,
      participants: 0,
      carried: { published: { audio: 0, video: 0 }, subscribed: { audio: 0, video: 0 }, copies: 0, queuedDataBytes: 0 },
    }));
    const log = createLog({ level: 'silent', json: true });
    const server = await startMetricsServer({ registry: metrics.registry, port: 0, bindAddress: '127.0.0.1', log });
    servers.push(server);
    for (const path of ['/metrics', '/']) {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
      assert.equal(response.headers.get('content-type'), metrics.registry.contentType);
      assert.equal(valueOf(parseText(await response.text()).samples, 'livekit_room_total'), 1);
    }
    const post = await fetch(`http://127.0.0.1:${server.port}/metrics`, { method: 'POST' });
    assert.equal(post.status, 405);
    await assert.rejects(
      startMetricsServer({ registry: metrics.registry, port: server.port, bindAddress: '127.0.0.1', log }),
      { reason: 'metrics-listen-failed', message: new RegExp(`port ${server.port}.*in use`) },
    );
    await server.close();
    await server.close();
    await assert.rejects(fetch(`http://127.0.0.1:${server.port}/metrics`));
  });

  it('asks scrapers who they are where it is told to', async () => {
    const { registry } = createMetrics();
    const log = createLog({ level: 'silent', json: true });
    const credentials = { username: 'scraper', password: 'pä:ss' };
    const server = await startMetricsServer({ registry, port: 0, bindAddress: '127.0.0.1', credentials, log });
    servers.push(server);
    const statusWith = async (authorization?: string): Promise<number> => {
      const headers = authorization === undefined ? {} : { authorization };
      const response = await fetch(`http://127.0.0.1:${server.port}/metrics`, { headers });
      await response.text();
      return response.status;
    };
    const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
    assert.equal(await statusWith(), 401);
    assert.equal(await statusWith(basic('scraper:wrong')), 401);
    assert.equal(await statusWith(basic('other:pä:ss')), 401);
    assert.equal(await statusWith(basic('scraper:pä:ss')), 200);
  });
});
