/**
 * Records how large the frames of a real VP8 encoder are: `node bench/traces/record.ts` writes camera.json. The picture is a
 * moving fractal with camera noise, encoded as a browser encodes a call (real time, constant bit rate, no planned key frames),
 * in the three layers and bit rates of LiveKit's own load test.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const seconds = 20;
const layers = [
  { width: 320, height: 180, fps: 15, bitrateBps: 120_000 },
  { width: 640, height: 360, fps: 20, bitrateBps: 400_000 },
  { width: 1280, height: 720, fps: 30, bitrateBps: 1_500_000 },
];

function record(layer: (typeof layers)[number], folder: string): number[] {
  const { width, height, fps, bitrateBps } = layer;
  const file = path.join(folder, `${height}.ivf`);
  const source = `mandelbrot=size=1280x720:rate=30:maxiter=400:start_scale=1:end_scale=0.02:end_pts=1200,noise=alls=6:allf=t`;
  const rate = String(bitrateBps);
  execFileSync('ffmpeg', [
    ...[
      '-hide_banner',
      '-loglevel',
      'error',
      '-f',
      'lavfi',
      '-i',
      `${source},scale=${width}:${height},fps=${fps},format=yuv420p`,
    ],
    ...['-t', String(seconds), '-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-lag-in-frames', '0'],
    ...['-b:v', rate, '-minrate', rate, '-maxrate', rate, '-bufsize', String(bitrateBps / 2), '-g', '100000'],
    ...['-error-resilient', '1', file],
  ]);
  const listing = execFileSync('ffprobe', [
    '-loglevel',
    'error',
    '-show_entries',
    'packet=size',
    '-of',
    'csv=p=0',
    file,
  ]);
  const sizes = listing
    .toString()
    .split(/[\s,]+/)
    .filter((text) => text !== '')
    .map(Number);
  // The first is a key frame; the endpoint makes its own when it is asked.
  return sizes.slice(1);
}

const folder = mkdtempSync(path.join(tmpdir(), 'plenum-trace-'));
try {
  const recorded = layers.map((layer) => ({ ...layer, frameBytes: record(layer, folder) }));
  writeFileSync(
    path.join(import.meta.dirname, 'camera.json'),
    `${JSON.stringify({ codec: 'vp8', layers: recorded })}\n`,
  );
} finally {
  rmSync(folder, { recursive: true });
}
