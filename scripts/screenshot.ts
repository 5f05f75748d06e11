/** Takes the picture of the meeting page that the README shows: `node scripts/screenshot.ts [file.png]`. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { TestBrowser } from '../test/kit/browser.ts';
import { MeetingPage } from '../test/kit/meeting-page.ts';
import { startNode } from '../test/kit/node.ts';
import { drawPortrait, portraits, type Portrait } from './portrait.ts';

const run = promisify(execFile);
const target = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '../docs/images/meeting.png'));
const viewport = { width: 1280, height: 800 };
/** Until the publisher's encoder has reached its full resolution. */
const settleMs = 8_000;

/** A short film for Chromium's fake camera. */
async function film(folder: string, name: string, portrait: Portrait): Promise<string> {
  const browser = await TestBrowser.start();
  try {
    const page = await browser.newPage();
    await page.setViewportSize({ width: 1280, height: 720 });
    await page.setContent(`<style>body{margin:0}</style>${drawPortrait(portrait)}`);
    const picture = path.join(folder, `${name}.png`);
    await page.screenshot({ path: picture });
    const file = path.join(folder, `${name}.mjpeg`);
    await run('ffmpeg', [
      '-loglevel',
      'error',
      '-loop',
      '1',
      '-i',
      picture,
      '-t',
      '1',
      '-r',
      '15',
      '-pix_fmt',
      'yuvj420p',
      '-q:v',
      '2',
      file,
    ]);
    return file;
  } finally {
    await browser.close();
  }
}

async function takePicture(stack: AsyncDisposableStack): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'plenum-screenshot-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const node = stack.adopt(await startNode({ config: { meet: { open: true } } }), (value) => value.close());
  const join = async (name: string, portrait: Portrait): Promise<MeetingPage> => {
    const file = await film(folder, name, portrait);
    const browser = await TestBrowser.start([`--use-file-for-fake-video-capture=${file}`]);
    stack.adopt(browser, (value) => value.close());
    const person = await MeetingPage.open(browser, viewport);
    await person.join(`http://localhost:${node.port}/meet/?room=design-review`, name);
    return person;
  };
  const ana = await join('Ana Pavlova', portraits.ana);
  const ben = await join('Ben Okafor', portraits.ben);
  await ana.waitForMeeting(2);
  await ana.waitForPicture('Camera of Ben Okafor');
  await ana.press('Chat');
  await ben.press('Chat');
  await ben.say('Hi Ana! The new sketches are in the folder.');
  await ana.say('Thanks, I have them open.');
  await ben.say('Shall I share my screen?');
  await ana.page.getByText('Shall I share my screen?').waitFor();
  await ana.page.mouse.move(0, 0);
  await delay(settleMs);
  const raw = path.join(folder, 'raw.png');
  await ana.page.screenshot({ path: raw });
  // A palette keeps the file small enough for a repository.
  const palette = 'split[a][b];[a]palettegen=max_colors=256[p];[b][p]paletteuse=dither=none';
  await run('ffmpeg', ['-loglevel', 'error', '-y', '-i', raw, '-vf', palette, target]);
}

await using stack = new AsyncDisposableStack();
await takePicture(stack);
process.stdout.write(`${target}\n`);
