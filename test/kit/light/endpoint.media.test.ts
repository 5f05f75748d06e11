import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type * as Mediasoup from 'mediasoup';
import type { types } from 'mediasoup';
import { UdpRelay } from '../udp-relay.ts';
import { until } from '../until.ts';
import { findWorker } from './build.ts';
import { LightEndpoint } from './light-endpoint.ts';
import { newIceCredentials, type LightPeer, type PeerEvent } from './light-peer.ts';

const midUri = 'urn:ietf:params:rtp-hdrext:sdes:mid';
const ridUri = 'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id';
const levelUri = 'urn:ietf:params:rtp-hdrext:ssrc-audio-level';
const transportCcUri = 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01';

describe('light endpoint against a mediasoup worker', () => {
  let endpoint: LightEndpoint;
  let worker: types.Worker;
  let server: types.WebRtcServer;
  let router: types.Router;
  const peers: LightPeer[] = [];
  const transports: types.WebRtcTransport[] = [];

  before(async () => {
    const binary = await findWorker();
    assert.ok(binary, 'no media worker: set MEDIASOUP_WORKER_BIN or run ./plenum once');
    process.env['MEDIASOUP_WORKER_BIN'] = binary;
    const mediasoup: typeof Mediasoup = await import('mediasoup');
    endpoint = await LightEndpoint.start();
    worker = await mediasoup.createWorker({ logLevel: 'warn' });
    const mediaCodecs: types.RouterRtpCodecCapability[] = [
      { kind: 'audio', mimeType: 'audio/opus', clockRate: 48_000, channels: 2, preferredPayloadType: 111 },
      { kind: 'video', mimeType: 'video/VP8', clockRate: 90_000, preferredPayloadType: 96 },
    ];
    server = await worker.createWebRtcServer({ listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }] });
    router = await worker.createRouter({ mediaCodecs });
  });

  after(async () => {
    worker?.close();
    await endpoint?.close();
  });

  async function connect(
    onEvent?: (event: PeerEvent) => void,
    sctp = false,
  ): Promise<{ peer: LightPeer; transport: types.WebRtcTransport }> {
    const transport = await router.createWebRtcTransport({
      webRtcServer: server,
      enableSctp: sctp,
      initialAvailableOutgoingBitrate: 400_000,
    });
    const peer = endpoint.open({ sctp, ...(onEvent ? { onEvent } : {}) });
    peers.push(peer);
    transports.push(transport);
    await transport.connect({
      dtlsParameters: { role: 'client', fingerprints: [{ algorithm: 'sha-256', value: endpoint.fingerprint }] },
    });
    setRemote(peer, transport);
    return { peer, transport };
  }

  function serverPort(): number {
    const [transport] = transports;
    return transport?.iceCandidates[0]?.port ?? 0;
  }

  function remoteOf(transport: types.WebRtcTransport): { ufrag: string; password: string } {
    return { ufrag: transport.iceParameters.usernameFragment, password: transport.iceParameters.password };
  }

  function setRemote(peer: LightPeer, transport: types.WebRtcTransport, restart = false): void {
    const fingerprint = transport.dtlsParameters.fingerprints.find(({ algorithm }) => algorithm === 'sha-256');
    assert.ok(fingerprint);
    peer.setRemote(
      {
        ufrag: transport.iceParameters.usernameFragment,
        password: transport.iceParameters.password,
        candidates: transport.iceCandidates.map(({ address, port }) => ({ address, port })),
        fingerprint: fingerprint.value,
      },
      restart ? newIceCredentials() : peer.credentials,
    );
  }

  async function publishAudio(peer: LightPeer, transport: types.WebRtcTransport): Promise<types.Producer> {
    const producer = await transport.produce({
      kind: 'audio',
      rtpParameters: {
        mid: '1',
        codecs: [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48_000, channels: 2 }],
        headerExtensions: [
          { uri: midUri, id: 4 },
          { uri: levelUri, id: 1 },
        ],
        encodings: [{ ssrc: 1000 }],
      },
    });
    peer.publish({ ssrc: 1000, kind: 'audio', payloadType: 111, mid: '1', midId: 4, levelId: 1, levelDbov: 20 });
    return producer;
  }

  async function publishSimulcast(peer: LightPeer, transport: types.WebRtcTransport): Promise<types.Producer> {
    const rids = ['q', 'h', 'f'];
    const producer = await transport.produce({
      kind: 'video',
      rtpParameters: {
        mid: '2',
        codecs: [
          {
            mimeType: 'video/VP8',
            payloadType: 96,
            clockRate: 90_000,
            rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }],
          },
        ],
        headerExtensions: [
          { uri: midUri, id: 4 },
          { uri: ridUri, id: 10 },
        ],
        encodings: rids.map((rid) => ({ rid, scalabilityMode: 'L1T3' })),
      },
    });
    for (const [index, rid] of rids.entries()) {
      peer.publish({
        ssrc: 2000 + index,
        kind: 'video',
        payloadType: 96,
        mid: '2',
        midId: 4,
        rid,
        ridId: 10,
        temporalLayers: 3,
        fps: 20,
        bitrateBps: 100_000 * 3 ** index,
        width: 320 << index,
        height: 180 << index,
      });
    }
    return producer;
  }

  async function subscribe(
    peer: LightPeer,
    transport: types.WebRtcTransport,
    producer: types.Producer,
    options: { repaired?: boolean } = {},
  ): Promise<{ consumer: types.Consumer; ssrc: number }> {
    const consumer = await transport.consume({
      producerId: producer.id,
      rtpCapabilities: router.rtpCapabilities,
      paused: true,
    });
    const ssrc = consumer.rtpParameters.encodings?.[0]?.ssrc ?? 0;
    const extension = consumer.rtpParameters.headerExtensions?.find(({ uri }) => uri === transportCcUri);
    const codec = consumer.rtpParameters.codecs[0]?.mimeType === 'video/VP8' ? { codec: 'vp8' } : {};
    const nack = options.repaired ?? false;
    peer.receive({ ssrc, kind: producer.kind, nack, ...codec, ...(extension ? { transportCcId: extension.id } : {}) });
    const rtx = consumer.rtpParameters.encodings?.[0]?.rtx?.ssrc;
    if (nack && rtx !== undefined) peer.receive({ ssrc: rtx, kind: 'padding', repairs: ssrc });
    await consumer.resume();
    return { consumer, ssrc };
  }

  it('carries fake Opus and a VP8 layer without a gap, shows key frames and follows the layer', async () => {
    const publisher = await connect();
    const subscriber = await connect();
    await Promise.all([publisher.peer.waitConnected(), subscriber.peer.waitConnected()]);
    assert.equal(publisher.peer.srtpProfile, 'SRTP_AEAD_AES_256_GCM');
    const audio = await subscribe(
      subscriber.peer,
      subscriber.transport,
      await publishAudio(publisher.peer, publisher.transport),
    );
    const video = await subscribe(
      subscriber.peer,
      subscriber.transport,
      await publishSimulcast(publisher.peer, publisher.transport),
    );

    const heard = await subscriber.peer.watch(audio.ssrc, { contiguousMs: 1000 });
    assert.equal(heard.lost + heard.duplicates + heard.undecryptable, 0);
    assert.ok(heard.packets >= 45, `${heard.packets} audio packets in a second`);
    assert.ok(heard.delayMeanMs < 50, `mean delay ${heard.delayMeanMs} ms`);

    await subscriber.peer.watch(video.ssrc, { contiguousMs: 300, keyFrame: true });
    // The estimate starts below what the top layer needs: only transport-wide feedback lets it rise.
    await until(async () => {
      const [stats] = (await subscriber.peer.stats()).streams.filter(({ ssrc }) => ssrc === video.ssrc);
      return stats?.width === 1280
        ? ''
        : `top layer not reached, ${JSON.stringify(stats)}, ${JSON.stringify(video.consumer.currentLayers)}`;
    });
    await video.consumer.setPreferredLayers({ spatialLayer: 0 });
    await until(async () => {
      const [stats] = (await subscriber.peer.stats()).streams.filter(({ ssrc }) => ssrc === video.ssrc);
      return stats?.width === 320 && stats.lost === 0 ? '' : `lowest layer not reached, ${JSON.stringify(stats)}`;
    });
    const counted = (await publisher.peer.stats()).sent;
    assert.ok(
      counted.some(({ keyRequests }) => keyRequests > 0),
      'a key frame was asked for',
    );
  });

  it('asks for a key frame on demand and stops sending while paused', async () => {
    const publisher = await connect();
    const subscriber = await connect();
    await Promise.all([publisher.peer.waitConnected(), subscriber.peer.waitConnected()]);
    const producer = await publishSimulcast(publisher.peer, publisher.transport);
    const { ssrc } = await subscribe(subscriber.peer, subscriber.transport, producer);
    const before = await subscriber.peer.watch(ssrc, { contiguousMs: 100, keyFrame: true });
    await until(async () => {
      subscriber.peer.requestKeyFrame(ssrc);
      const stats = (await subscriber.peer.stats()).streams[0];
      return (stats?.keyFrames ?? 0) > before.keyFrames ? '' : `no further key frame: ${JSON.stringify(stats)}`;
    });
    for (const layer of [2000, 2001, 2002]) publisher.peer.setPublished(layer, { paused: true });
    await until(async () =>
      ((await subscriber.peer.stats()).streams[0]?.silentMs ?? 0) > 300 ? '' : 'still receiving',
    );
  });

  it('exchanges data both ways and opens channels in-band in both directions', async () => {
    const received: Buffer[] = [];
    let acked = 0;
    const { peer, transport } = await connect((event) => {
      if (event.kind === 'data') received.push(event.data);
      if (event.kind === 'channelAcked') acked += 1;
    }, true);
    const direct = await router.createDirectTransport();
    const up = await transport.produceData({ sctpStreamParameters: { streamId: 2, ordered: true } });
    const upReader = await direct.consumeData({ dataProducerId: up.id });
    const messages: { ppid: number; data: Buffer }[] = [];
    upReader.on('message', (data, ppid) => void messages.push({ ppid, data: Buffer.from(data) }));
    const down = await direct.produceData();
    const downWriter = await transport.consumeData({ dataProducerId: down.id, ordered: true });
    const downStream = downWriter.sctpStreamParameters?.streamId;

    peer.openChannel(2, '_reliable');
    peer.send(2, Buffer.alloc(60_000, 7));
    await until(() =>
      messages.some(({ ppid, data }) => ppid === 53 && data.length === 60_000)
        ? ''
        : `got ${messages.map(({ ppid }) => ppid).join()}`,
    );
    const open = messages.find(({ ppid }) => ppid === 50)?.data;
    assert.equal(open?.subarray(12).toString(), '_reliable');

    await until(() => (peer.sctp === 'connected' ? '' : `sctp ${peer.sctp}`));
    const label = Buffer.from('_lossy');
    const header = Buffer.from([3, 0x81, 1, 0, 0, 0, 0, 0, 0, label.length, 0, 0]);
    await downWriter.send(Buffer.concat([header, label]), 50);
    await downWriter.send(Buffer.alloc(30_000, 9), 53);
    await until(() => (received.length === 1 ? '' : `${received.length} messages`));
    assert.deepEqual(received[0], Buffer.alloc(30_000, 9));
    assert.deepEqual(peer.channels.get('_lossy'), {
      kind: 'channel',
      stream: downStream,
      label: '_lossy',
      unordered: true,
      reliable: false,
    });
    assert.equal(acked, 0);
    assert.deepEqual(peer.problems, []);
  });

  it('lets the sender run into a full window while it does not read, and loses nothing afterwards', async () => {
    const received: number[] = [];
    const { peer, transport } = await connect((event) => {
      if (event.kind === 'data') received.push(event.data.readUInt32BE(0));
    }, true);
    const direct = await router.createDirectTransport();
    const down = await direct.produceData();
    const writer = await transport.consumeData({ dataProducerId: down.id, ordered: true });
    await until(() => (peer.sctp === 'connected' ? '' : `sctp ${peer.sctp}`));
    peer.setReadingData(false);
    const count = 150;
    for (let index = 0; index < count; index += 1) {
      const message = Buffer.alloc(15_000);
      message.writeUInt32BE(index);
      await writer.send(message, 53);
    }
    await until(async () => ((await writer.getBufferedAmount()) > 500_000 ? '' : 'the window is not full'));
    // What arrived before the endpoint took the command is small against what waits.
    assert.ok(received.length < count / 2, `${received.length} messages were read`);
    peer.setReadingData(true);
    await until(() => (received.length === count ? '' : `${received.length} of ${count}`));
    assert.deepEqual(
      received,
      Array.from({ length: count }, (_, index) => index),
    );
  });

  it('restarts ICE without interrupting media', async () => {
    const publisher = await connect();
    const subscriber = await connect();
    await Promise.all([publisher.peer.waitConnected(), subscriber.peer.waitConnected()]);
    const { ssrc } = await subscribe(
      subscriber.peer,
      subscriber.transport,
      await publishAudio(publisher.peer, publisher.transport),
    );
    await subscriber.peer.watch(ssrc, { contiguousMs: 200 });
    await subscriber.peer.stats({ reset: true });
    for (const { peer, transport } of [publisher, subscriber]) {
      await transport.restartIce();
      setRemote(peer, transport, true);
    }
    await Promise.all([publisher.peer.waitConnected(), subscriber.peer.waitConnected()]);
    const stats = await subscriber.peer.watch(ssrc, { contiguousMs: 500 });
    assert.equal(stats.lost, 0);
    assert.ok(stats.maxGapMs < 100, `gap of ${stats.maxGapMs} ms`);
  });

  it('tells a wrong fingerprint and a transport that goes away', async () => {
    const { peer, transport } = await connect();
    await peer.waitConnected();
    transport.close();
    await peer.waitFor(() => peer.dtls === 'closed', 'goodbye of the server');
    const other = await router.createWebRtcTransport({ webRtcServer: server });
    await other.connect({
      dtlsParameters: { role: 'client', fingerprints: [{ algorithm: 'sha-256', value: endpoint.fingerprint }] },
    });
    const suspicious = endpoint.open({});
    peers.push(suspicious);
    suspicious.setRemote({
      ufrag: other.iceParameters.usernameFragment,
      password: other.iceParameters.password,
      candidates: other.iceCandidates.map(({ address, port }) => ({ address, port })),
      fingerprint: endpoint.fingerprint,
    });
    await suspicious.waitFor(() => suspicious.dtls === 'failed', 'refused fingerprint');
  });

  it('repairs what a path loses, and tells delays and losses of all peers together', async () => {
    const publisher = await connect();
    const subscriber = await connect();
    const relay = await UdpRelay.start({ target: { address: '127.0.0.1', port: serverPort() }, seed: 3 });
    try {
      const producer = await publishSimulcast(publisher.peer, publisher.transport);
      subscriber.peer.setRemote(
        { ...remoteOf(subscriber.transport), candidates: [{ address: '127.0.0.1', port: relay.port }] },
        subscriber.peer.credentials,
      );
      const { consumer, ssrc } = await subscribe(subscriber.peer, subscriber.transport, producer, { repaired: true });
      await subscriber.peer.watch(ssrc, { contiguousMs: 300 });
      await endpoint.totals({ reset: true });
      relay.setDown({ loss: 0.1 });
      await until(async () => {
        const { lost, recovered, repair } = await endpoint.totals();
        return recovered >= 20 && repair.count >= 20 ? '' : `${recovered} of ${lost} repaired`;
      });
      const totals = await endpoint.totals();
      assert.ok(totals.lost >= totals.recovered, JSON.stringify(totals));
      assert.ok(totals.nacks > 0 && totals.repeats >= totals.recovered, JSON.stringify(totals));
      assert.ok(
        totals.mediaDelay.count > 0 && totals.mediaDelay.p50Ms < totals.mediaDelay.maxMs,
        JSON.stringify(totals),
      );
      consumer.close();
    } finally {
      relay.close();
    }
  });

  it('sends frames as large as a trace says, and floods of stamped messages', async () => {
    const { peer } = await connect(undefined, true);
    const frames = endpoint.addTrace([500, 3000]);
    await peer.waitConnected();
    peer.publish({ ssrc: 4711, kind: 'video', payloadType: 96, fps: 50, trace: frames });
    const sent = async (): Promise<{ packets: number; bytes: number }> => {
      const [stream] = (await peer.stats()).sent;
      return { packets: stream?.packets ?? 0, bytes: stream?.bytes ?? 0 };
    };
    await until(async () => ((await sent()).packets > 40 ? '' : 'too few packets'));
    // One packet and three in turns.
    const { packets, bytes } = await sent();
    assert.ok(Math.abs(bytes / packets - 875) < 60, `${bytes} bytes in ${packets} packets`);
    peer.openChannel(2, 'flood');
    await peer.waitFor(() => peer.sctp === 'connected', 'association');
    const message = Buffer.alloc(60);
    peer.flood({ stream: 2, message, perSecond: 200, stampAt: 10, sequenceAt: 30 });
    await until(async () => ((await peer.stats()).queuedBytes === 0 ? '' : 'a queue'));
    peer.endFlood(2);
    assert.deepEqual(peer.problems, []);
  });

  it('opens and closes crowds of connections in flat memory', async () => {
    while (peers.length > 0) await peers.pop()?.close();
    // A server knows its clients by address: a port that is used anew must not belong to a transport that is left over.
    router.close();
    router = await worker.createRouter({});
    const crowd = async (count: number): Promise<void> => {
      const members = await Promise.all(Array.from({ length: count }, () => connect(undefined, true)));
      await Promise.all(
        members.map(({ peer, transport }) =>
          peer.waitFor(
            () => peer.connected && peer.sctp === 'connected',
            () =>
              `connection with data: here ice ${peer.ice}, dtls ${peer.dtls}, sctp ${peer.sctp}; ` +
              `there ${transport.iceState}, ${transport.dtlsState}, ${transport.sctpState}`,
            20_000,
          ),
        ),
      );
      await Promise.all(members.map(({ peer }) => peer.close()));
      for (const { transport } of members) transport.close();
      peers.length = 0;
    };
    for (let warmUp = 0; warmUp < 2; warmUp += 1) await crowd(100);
    const before = await endpoint.usage();
    for (let round = 0; round < 6; round += 1) await crowd(100);
    const after = await endpoint.usage();
    assert.equal(after.peers, 0);
    console.log(
      `600 connections: ${((after.cpuMs - before.cpuMs) / 600).toFixed(2)} ms CPU each, ` +
        `RSS ${(before.rssBytes / 1e6).toFixed(1)} -> ${(after.rssBytes / 1e6).toFixed(1)} MB`,
    );
    assert.ok(after.rssBytes - before.rssBytes < 1_500_000, `RSS grew by ${after.rssBytes - before.rssBytes} bytes`);
  });
});
