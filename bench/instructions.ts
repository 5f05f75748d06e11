/**
 * Instructions that the media worker executes for a forwarded packet, counted by valgrind: the same on a busy machine as on a
 * quiet one, so that a change of a few percent is seen where no clock would show it.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findWorker } from '../test/kit/light/build.ts';
import { Crowd, opus } from './crowd.ts';
import { newRoomName } from './scenario.ts';
import { waitForMedia } from './scenarios/webinar.ts';
import { startTarget, type Target } from './target.ts';

export type InstructionCount = { perPacket: number; perJoin: number };

type Run = { instructions: number; packets: number };

/** Of the same joins each; the difference is what packets cost. */
const packetCounts = { few: 500, many: 2500 };
const viewers = 8;

export function hasValgrind(): boolean {
  try {
    execFileSync('valgrind', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** @param layers of the publisher's camera: `all` has bandwidth estimation, `top` has not. */
export async function countInstructions(layers: 'all' | 'lowest'): Promise<InstructionCount> {
  const few = await replay(layers, packetCounts.few);
  const many = await replay(layers, packetCounts.many);
  const perPacket = (many.instructions - few.instructions) / (many.packets - few.packets);
  return { perPacket, perJoin: (few.instructions - few.packets * perPacket) / (viewers + 1) };
}

async function replay(layers: 'all' | 'lowest', packets: number): Promise<Run> {
  const folder = mkdtempSync(path.join(tmpdir(), 'plenum-instructions-'));
  try {
    const worker = await writeWrapper(folder);
    const target = await startTarget({ config: {}, worker, pinned: false });
    let received: number;
    try {
      received = await forward(target, layers, packets);
    } finally {
      await target.close();
    }
    return { instructions: collected(folder), packets: received };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A program that stands in for the worker. */
async function writeWrapper(folder: string): Promise<string> {
  const worker = await findWorker();
  const wrapper = path.join(folder, 'mediasoup-worker');
  const options = `--tool=callgrind --callgrind-out-file=/dev/null --log-file=${folder}/valgrind.%p`;
  writeFileSync(wrapper, `#!/bin/sh\nexec valgrind ${options} '${worker}' "$@"\n`);
  chmodSync(wrapper, 0o755);
  return wrapper;
}

/** @returns how many packets the viewers got. */
async function forward(target: Target, layers: 'all' | 'lowest', packets: number): Promise<number> {
  const crowd = await Crowd.start(target);
  try {
    const room = newRoomName('instructions');
    const publisher = await crowd.join(room, 'publisher', { publish: { audio: opus, video: crowd.camera(layers) } });
    // One after the other: the worker is slow now, and how joins overlap must not change the count.
    for (let index = 0; index < viewers; index += 1) {
      await waitForMedia(await crowd.join(room, `viewer-${index}`), publisher);
    }
    const { packets: before } = await crowd.endpoint.totals();
    for (;;) {
      const { packets: now } = await crowd.endpoint.totals();
      if (now - before >= packets) {
        return now;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    await crowd.close();
  }
}

function collected(folder: string): number {
  for (const name of readdirSync(folder).filter((file) => file.startsWith('valgrind.'))) {
    const found = /Collected : (\d+)/.exec(readFileSync(path.join(folder, name), 'utf8'));
    if (found !== null) {
      return Number(found[1]);
    }
  }
  throw new Error('valgrind has counted nothing');
}
