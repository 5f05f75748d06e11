/** A server that is started with what an installation of livekit-server has: its file, its variables. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort, freePortRange } from '../kit/free-ports.ts';
import { LightClient } from '../kit/light-client.ts';
import { LightEndpoint } from '../kit/light/light-endpoint.ts';
import { findWorker } from '../kit/light/build.ts';
import { LogRecord, type LogLine } from '../kit/log-record.ts';
import { joinToken } from '../kit/tokens.ts';
import { until, withDeadline } from '../kit/until.ts';

const main = path.join(import.meta.dirname, '../../src/main.ts');
const key = { apiKey: 'app', apiSecret: 'a secret of more than thirty characters' };
const warnLevel = 40;

describe('a server with the configuration of a livekit-server', () => {
  let folder: string;
  let endpoint: LightEndpoint;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'plenum-livekit-'));
    endpoint = await LightEndpoint.start();
  });
  after(async () => {
    await endpoint?.close();
    await rm(folder, { recursive: true });
  });

  /** Runs it until `use` is done. @returns its log */
  async function run(args: string[], env: Record<string, string>, use: () => Promise<void>): Promise<LogRecord> {
    const worker = await findWorker();
    const child = spawn(process.execPath, [main, 'start', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env, ...(worker === undefined ? {} : { MEDIASOUP_WORKER_BIN: worker }) },
    });
    const log = new LogRecord();
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => log.write(chunk));
    }
    const ended = once(child, 'exit');
    try {
      await use();
      child.kill('SIGINT');
      const [code] = (await withDeadline(ended, () => `its end\n${log.tail()}`, 15_000)) as [number];
      assert.equal(code, 0, log.tail());
    } finally {
      child.kill('SIGKILL');
    }
    return log;
  }

  it('takes a file of it as it is, warns once, and carries a call on its one media port', async () => {
    const [port, mediaPort, metricsPort] = [await freePort(), await freePortRange(1), await freePort()];
    const keyFile = path.join(folder, 'keys.yaml');
    await writeFile(keyFile, `${key.apiKey}: ${key.apiSecret}\n`);
    await chmod(keyFile, 0o600);
    const file = path.join(folder, 'livekit.yaml');
    await writeFile(
      file,
      `
port: ${port}
bind_addresses: ["127.0.0.1"]
key_file: ${keyFile}
rtc:
  udp_port: ${mediaPort}
  tcp_port: 7881
  node_ip: 127.0.0.1
  use_ice_lite: true
  pli_throttle: {low_quality: 500ms}
prometheus: {port: ${metricsPort}, username: scraper, password: secret}
redis: {address: "redis.example.com:6379"}
room:
  enabled_codecs: [{mime: audio/opus}, {mime: audio/red}, {mime: video/vp8}, {mime: video/rtx}]
signal_relay: {retry_timeout: 7500ms}
node_selector: {kind: any}
`,
    );
    const url = `http://127.0.0.1:${port}`;
    const log = await run(['--config', file], {}, async () => {
      await until(async () => ((await fetch(url)).status === 200 ? '' : 'not healthy'), { timeoutMs: 20_000 });
      const join = async (identity: string, audio: boolean): Promise<LightClient> =>
        LightClient.join({
          url,
          token: await joinToken({ room: 'moved', identity, key }),
          endpoint,
          publish: { audio, video: audio },
        });
      const ana = await join('ana', true);
      const ben = await join('ben', false);
      for (const trackSid of ana.publishedTrackSids) await ben.waitForTrack(trackSid);
      assert.deepEqual(
        ana.joinResponse.enabledPublishCodecs.map(({ mime }) => mime),
        ['video/vp8', 'audio/opus'],
      );
      const metrics = await fetch(`http://127.0.0.1:${metricsPort}/metrics`, {
        headers: { authorization: `Basic ${Buffer.from('scraper:secret').toString('base64')}` },
      });
      assert.match(await metrics.text(), /^livekit_participant_total\{.*\} 2$/m);
      await ana.leave();
      await ben.leave();
    });
    const warnings = log.lines.filter(
      ({ level, options }) => level >= warnLevel && options !== undefined,
    ) as (LogLine & {
      options: string[];
    })[];
    assert.deepEqual(
      warnings.map(({ options }) => options.toSorted()),
      [
        [
          'node_selector',
          'redis',
          'room.enabled_codecs audio/red',
          'rtc.pli_throttle',
          'rtc.tcp_port',
          'rtc.use_ice_lite',
          'signal_relay',
        ],
      ],
      log.tail(),
    );
  });

  it('takes its variables alone', async () => {
    const [port, mediaPort] = [await freePort(), await freePortRange(1)];
    const url = `http://127.0.0.1:${port}`;
    const env = {
      LIVEKIT_CONFIG: `port: ${port}\nbind_addresses: ["127.0.0.1"]\n`,
      LIVEKIT_KEYS: `${key.apiKey}: ${key.apiSecret}`,
      NODE_IP: '127.0.0.1',
      UDP_PORT: String(mediaPort),
      LIVEKIT_ROOM_AUTO_CREATE: 'false',
    };
    await run([], env, async () => {
      await until(async () => ((await fetch(url)).status === 200 ? '' : 'not healthy'), { timeoutMs: 20_000 });
      const token = await joinToken({ room: 'closed', identity: 'ana', key });
      await assert.rejects(LightClient.join({ url, token, endpoint }), /404.*requested room does not exist/);
    });
  });

  it('does not start with keys that everybody may read', async () => {
    const keyFile = path.join(folder, 'open.yaml');
    await writeFile(keyFile, 'a: b\n');
    await chmod(keyFile, 0o644);
    const child = spawn(process.execPath, [main, 'start', '--key-file', keyFile], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const [code] = (await withDeadline(once(child, 'close'), () => 'its end', 15_000)) as [number];
    assert.equal(code, 2);
    assert.match(text, /may be read by others: chmod 600 it/);
  });
});
