// Proves that a freshly built worker works before anything relies on it: `node worker/smoke.ts <worker binary>`.
// A real DTLS handshake with OpenSSL's client in each SRTP profile, packets through SRTP in each suite, SCTP messages.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac, randomBytes, X509Certificate } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { createWorker } from 'mediasoup';
import type { PlainTransport, Router, RtpCodecCapability, SrtpCryptoSuite, WebRtcTransport } from 'mediasoup/types';

const STEP_TIMEOUT_MS = 10_000;
const LOCALHOST = '127.0.0.1';
const OPUS: RtpCodecCapability = {
  kind: 'audio',
  mimeType: 'audio/opus',
  clockRate: 48_000,
  channels: 2,
  preferredPayloadType: 111,
};

/** An ICE connectivity check with nomination (RFC 8445, section 7.1), which binds our address to the transport. */
function stunBinding(usernameFragment: string, password: string): Buffer {
  const header = Buffer.concat([Buffer.from('000100002112a442', 'hex'), randomBytes(12)]);
  let message = header;
  const withLength = (growth: number): Buffer => {
    const copy = Buffer.from(message);
    copy.writeUInt16BE(message.length - header.length + growth, 2);
    return copy;
  };
  const append = (type: number, value: Buffer): void => {
    const padded = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
    padded.writeUInt16BE(type, 0);
    padded.writeUInt16BE(value.length, 2);
    value.copy(padded, 4);
    message = Buffer.concat([withLength(padded.length), padded]);
  };
  append(0x0006, Buffer.from(`${usernameFragment}:smoke`)); // USERNAME
  append(0x0024, Buffer.from('6e7f00ff', 'hex')); // PRIORITY
  append(0x802a, randomBytes(8)); // ICE-CONTROLLING
  append(0x0025, Buffer.alloc(0)); // USE-CANDIDATE
  // Both checksums are taken over a header whose length already includes them.
  append(0x0008, createHmac('sha1', password).update(withLength(24)).digest()); // MESSAGE-INTEGRITY
  const fingerprint = Buffer.alloc(4);
  fingerprint.writeUInt32BE((crc32(withLength(8)) ^ 0x5354554e) >>> 0);
  append(0x8028, fingerprint); // FINGERPRINT
  return message;
}

async function openSocket(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, LOCALHOST);
  await once(socket, 'listening');
  return socket;
}

function makeCertificate(folder: string): { certPath: string; keyPath: string; fingerprint: string } {
  const certPath = join(folder, 'cert.pem');
  const keyPath = join(folder, 'key.pem');
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  const args = ['req', '-x509', ...curve, '-nodes', '-subj', '/CN=smoke', '-days', '2', '-out', certPath];
  execFileSync('openssl', [...args, '-keyout', keyPath], { stdio: ['ignore', 'ignore', 'pipe'] });
  return { certPath, keyPath, fingerprint: new X509Certificate(readFileSync(certPath)).fingerprint256 };
}

async function until(complaint: () => string | undefined): Promise<void> {
  const deadlineMs = performance.now() + STEP_TIMEOUT_MS;
  for (let last = complaint(); last !== undefined; last = complaint()) {
    assert.ok(performance.now() < deadlineMs, last);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Binds an address by ICE and carries datagrams between OpenSSL's client, which speaks no ICE, and the transport. */
async function relayToTransport(transport: WebRtcTransport): Promise<{ port: number; close: () => void }> {
  const [candidate] = transport.iceCandidates;
  assert.ok(candidate);
  const outer = await openSocket();
  const inner = await openSocket();
  let clientPort = 0;
  inner.on('message', (datagram, from) => {
    clientPort = from.port;
    outer.send(datagram, candidate.port, LOCALHOST);
  });
  outer.on('message', (datagram) => {
    // DTLS records start with a byte from 20 to 63 (RFC 7983, section 7); the rest is the answer to our STUN request.
    const kind = datagram[0] ?? 0;
    if (kind >= 20 && kind <= 63 && clientPort !== 0) {
      inner.send(datagram, clientPort, LOCALHOST);
    }
  });
  const { usernameFragment, password } = transport.iceParameters;
  outer.send(stunBinding(usernameFragment, password), candidate.port, LOCALHOST);
  await until(() => (transport.iceState === 'new' ? 'no ICE check arrived' : undefined));
  return {
    port: inner.address().port,
    close: () => {
      outer.close();
      inner.close();
    },
  };
}

async function shakeHands(router: Router, profile: string, folder: string): Promise<void> {
  const certificate = makeCertificate(folder);
  const transport = await router.createWebRtcTransport({ listenInfos: [{ protocol: 'udp', ip: LOCALHOST }] });
  const relay = await relayToTransport(transport);
  await transport.connect({
    dtlsParameters: { role: 'client', fingerprints: [{ algorithm: 'sha-256', value: certificate.fingerprint }] },
  });
  const files = ['-cert', certificate.certPath, '-key', certificate.keyPath];
  const target = ['-dtls1_2', '-mtu', '1200', '-connect', `${LOCALHOST}:${relay.port}`];
  const client = spawn('openssl', ['s_client', ...target, '-use_srtp', profile, ...files]);
  try {
    let output = '';
    client.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    client.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await until(() =>
      transport.dtlsState === 'connected' && output.includes(`SRTP Extension negotiated, profile=${profile}`)
        ? undefined
        : `DTLS handshake for ${profile} not finished, state ${transport.dtlsState}; OpenSSL says:\n${output}`,
    );
  } finally {
    client.kill('SIGKILL');
    relay.close();
    transport.close();
  }
}

async function connectPlain(from: PlainTransport, to: PlainTransport): Promise<void> {
  assert.ok(from.srtpParameters);
  await to.connect({ ip: LOCALHOST, port: from.tuple.localPort, srtpParameters: from.srtpParameters });
}

/** Sends packets Direct → Plain → SRTP over UDP → Plain → Direct and wants each of them back with its payload. */
async function passThroughSrtp(router: Router, far: Router, suite: SrtpCryptoSuite): Promise<void> {
  const plain = { listenInfo: { protocol: 'udp', ip: LOCALHOST }, rtcpMux: true, enableSrtp: true } as const;
  const source = await router.createDirectTransport();
  const sender = await router.createPlainTransport({ ...plain, comedia: false, srtpCryptoSuite: suite });
  const receiver = await far.createPlainTransport({ ...plain, comedia: false, srtpCryptoSuite: suite });
  const sink = await far.createDirectTransport();
  await connectPlain(sender, receiver);
  await connectPlain(receiver, sender);
  const codec = { mimeType: 'audio/opus', payloadType: 111, clockRate: 48_000, channels: 2 };
  const producer = await source.produce({
    kind: 'audio',
    rtpParameters: { codecs: [codec], encodings: [{ ssrc: 1234 }], rtcp: { cname: 'smoke' } },
  });
  const leg = await sender.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities });
  const landed = await receiver.produce({ kind: 'audio', rtpParameters: leg.rtpParameters });
  const consumer = await sink.consume({ producerId: landed.id, rtpCapabilities: far.rtpCapabilities });
  const payload = randomBytes(160);
  let intact = 0;
  consumer.on('rtp', (packet) => (intact += packet.subarray(-payload.length).equals(payload) ? 1 : 0));
  const total = 50;
  for (let i = 0; i < total; i += 1) {
    const header = Buffer.from('806f00000000000000000000', 'hex');
    header.writeUInt16BE(1000 + i, 2);
    header.writeUInt32BE(960 * i, 4);
    header.writeUInt32BE(1234, 8);
    producer.send(Buffer.concat([header, payload]));
  }
  await until(() => (intact === total ? undefined : `${suite}: ${intact} of ${total} packets came through intact`));
  for (const transport of [source, sender, receiver, sink]) {
    transport.close();
  }
}

/** Messages of several SCTP chunks through an association between two transports. */
async function passThroughSctp(router: Router, far: Router): Promise<void> {
  const pipe = { listenInfo: { protocol: 'udp', ip: LOCALHOST }, enableSctp: true } as const;
  const near = await router.createPipeTransport(pipe);
  const remote = await far.createPipeTransport(pipe);
  await near.connect({ ip: LOCALHOST, port: remote.tuple.localPort });
  await remote.connect({ ip: LOCALHOST, port: near.tuple.localPort });
  const source = await router.createDirectTransport();
  const sink = await far.createDirectTransport();
  const producer = await source.produceData();
  const leg = await near.consumeData({ dataProducerId: producer.id });
  assert.ok(leg.sctpStreamParameters);
  const landed = await remote.produceData({ sctpStreamParameters: leg.sctpStreamParameters });
  const consumer = await sink.consumeData({ dataProducerId: landed.id });
  const message = randomBytes(5000);
  let intact = 0;
  consumer.on('message', (data) => (intact += data.equals(message) ? 1 : 0));
  await until(() => (near.sctpState === 'connected' ? undefined : `SCTP state is ${near.sctpState}`));
  const total = 20;
  for (let i = 0; i < total; i += 1) {
    producer.send(message);
  }
  await until(() => (intact === total ? undefined : `${intact} of ${total} SCTP messages came through intact`));
  for (const transport of [near, remote, source, sink]) {
    transport.close();
  }
}

async function main(workerBin: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'plenum-smoke-'));
  const worker = await createWorker({ workerBin, logLevel: 'warn' });
  const died = new Promise<never>((_, reject) => worker.on('died', reject));
  const steps = async (): Promise<void> => {
    const router = await worker.createRouter({ mediaCodecs: [OPUS] });
    const far = await worker.createRouter({ mediaCodecs: [OPUS] });
    for (const profile of ['SRTP_AEAD_AES_256_GCM', 'SRTP_AEAD_AES_128_GCM', 'SRTP_AES128_CM_SHA1_80']) {
      await shakeHands(router, profile, folder);
    }
    const suites: SrtpCryptoSuite[] = [
      'AEAD_AES_256_GCM',
      'AEAD_AES_128_GCM',
      'AES_CM_128_HMAC_SHA1_80',
      'AES_CM_128_HMAC_SHA1_32',
    ];
    for (const suite of suites) {
      await passThroughSrtp(router, far, suite);
    }
    await passThroughSctp(router, far);
  };
  try {
    await Promise.race([steps(), died]);
  } finally {
    worker.close();
    rmSync(folder, { recursive: true });
  }
}

const [workerBin] = process.argv.slice(2);
assert.ok(workerBin, 'usage: node worker/smoke.ts <worker binary>');
await main(workerBin);
