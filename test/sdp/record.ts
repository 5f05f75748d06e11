/**
 * Records descriptions of real clients into `golden/`. Needs Chromium, Firefox and a mediasoup worker
 * (MEDIASOUP_WORKER_BIN), so it is run by hand when a client changes: `node test/sdp/record.ts [name part]`.
 * Then `node test/sdp/update.ts` renews the expected answers, and the diff is to be read.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AudioSource,
  LocalAudioTrack,
  LocalVideoTrack,
  Room,
  TrackPublishOptions,
  VideoBufferType,
  VideoCodec,
  VideoFrame,
  VideoSource,
} from '@livekit/rtc-node';
import { goldenDirectory } from './golden.ts';
import { RecordingServer } from './recording-server.ts';

const recordTimeoutMs = 60_000;

const pageScenarios = [
  'microphone',
  'stereo',
  'camera-vp8',
  'camera-h264',
  'camera-vp9',
  'camera-av1',
  'screen-vp8',
  'data',
  'republish',
  'ice-restart',
];

const nodeScenarios: Record<string, { video?: VideoCodec; simulcast?: boolean }> = {
  microphone: {},
  'camera-vp8': { video: VideoCodec.VP8, simulcast: true },
  'camera-vp8-single': { video: VideoCodec.VP8, simulcast: false },
  'camera-h264': { video: VideoCodec.H264, simulcast: true },
  'camera-vp9': { video: VideoCodec.VP9 },
  'camera-av1': { video: VideoCodec.AV1 },
};

const filter = process.argv[2] ?? '';
const server = await RecordingServer.start({
  directory: goldenDirectory,
  page: readFileSync(join(import.meta.dirname, 'record-page.html'), 'utf8'),
  clientScript: readFileSync(
    join(import.meta.dirname, '../../node_modules/livekit-client/dist/livekit-client.umd.js'),
    'utf8',
  ),
});

for (const scenario of pageScenarios) {
  await record(`chromium-${scenario}`, (name) => recordPage(name, scenario, launchChromium));
  await record(`firefox-${scenario}`, (name) => recordPage(name, scenario, launchFirefox));
}
for (const [scenario, options] of Object.entries(nodeScenarios)) {
  await record(`rtcnode-${scenario}`, (name) => recordNode(name, options));
}
server.close();
process.exit(0);

async function record(name: string, run: (name: string) => Promise<string>): Promise<void> {
  if (!name.includes(filter)) {
    return;
  }
  const deadline = new Promise<string>((resolve) => setTimeout(() => resolve('timed out'), recordTimeoutMs).unref());
  const outcome = await Promise.race([run(name), deadline]);
  console.log(name, outcome, JSON.stringify(await server.summary(name)));
}

async function recordPage(
  name: string,
  scenario: string,
  launch: (url: string, profile: string) => ChildProcess,
): Promise<string> {
  const profile = mkdtempSync(join(tmpdir(), 'plenum-record-'));
  const query = new URLSearchParams({ name, scenario, token: tokenOf(name) }).toString();
  const done = server.whenDone(name);
  const browser = launch(`http://localhost:${server.port}/page?${query}`, profile);
  const deadline = new Promise<string>((resolve) =>
    setTimeout(() => resolve('timed out'), recordTimeoutMs - 5000).unref(),
  );
  const outcome = await Promise.race([done, deadline]);
  await new Promise((resolve) => {
    browser.once('exit', resolve);
    browser.kill('SIGTERM');
  });
  rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
  return outcome;
}

function launchChromium(url: string, profile: string): ChildProcess {
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`];
  const media = [
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    '--autoplay-policy=no-user-gesture-required',
  ];
  return spawn('/usr/bin/chromium', [...flags, ...media, url], { stdio: 'ignore' });
}

function launchFirefox(url: string, profile: string): ChildProcess {
  const prefs = {
    'media.navigator.streams.fake': true,
    'media.navigator.permission.disabled': true,
    'media.autoplay.default': 0,
    'browser.shell.checkDefaultBrowser': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    'app.update.enabled': false,
  };
  const lines = Object.entries(prefs).map(
    ([key, value]) => `user_pref(${JSON.stringify(key)}, ${JSON.stringify(value)});`,
  );
  writeFileSync(join(profile, 'user.js'), `${lines.join('\n')}\n`);
  return spawn('/usr/bin/firefox-esr', ['--headless', '--no-remote', '--profile', profile, url], { stdio: 'ignore' });
}

async function recordNode(name: string, options: { video?: VideoCodec; simulcast?: boolean }): Promise<string> {
  const room = new Room();
  await room.connect(`ws://127.0.0.1:${server.port}`, tokenOf(name), { autoSubscribe: true, dynacast: false });
  const participant = room.localParticipant;
  if (participant === undefined) {
    return 'no participant';
  }
  const publishOptions = new TrackPublishOptions();
  if (options.video === undefined) {
    await participant.publishTrack(
      LocalAudioTrack.createAudioTrack('microphone', new AudioSource(48_000, 1)),
      publishOptions,
    );
  } else {
    const source = new VideoSource(1280, 720);
    publishOptions.videoCodec = options.video;
    if (options.simulcast !== undefined) {
      publishOptions.simulcast = options.simulcast;
    }
    await participant.publishTrack(LocalVideoTrack.createVideoTrack('camera', source), publishOptions);
    const frame = new VideoFrame(new Uint8Array((1280 * 720 * 3) / 2).fill(90), 1280, 720, VideoBufferType.I420);
    for (let count = 0; count < 80; count += 1) {
      source.captureFrame(frame);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const packets = await server.summary(name);
  await room.disconnect();
  return `ok ${JSON.stringify(packets)}`;
}

function tokenOf(name: string): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${encode({ alg: 'none' })}.${encode({ sub: name, exp: 4_000_000_000 })}.x`;
}
