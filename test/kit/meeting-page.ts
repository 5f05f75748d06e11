/** The meeting page as a person uses it: through what it shows, by role and name. */
import path from 'node:path';
import type { Page } from 'playwright-core';
import type { TestBrowser } from './browser.ts';
import { until } from './until.ts';

export type PictureLook = {
  /** Frames that the video element has shown. */
  frames: number;
  width: number;
  /** Share of pixels that are not black, 0–1. */
  visible: number;
};

/** What meeting-probe.js puts on `window`. */
declare const window: {
  probe: {
    look(title: string): PictureLook | undefined;
    audioPeak(durationMs: number): Promise<number>;
    nameless(): string[];
    overflowPx(): number;
  };
};

export class MeetingPage {
  readonly page: Page;
  /** Errors of the console and uncaught ones; warnings are the library's own business. */
  readonly errors: string[] = [];

  static async open(browser: TestBrowser, viewport = { width: 1280, height: 800 }): Promise<MeetingPage> {
    const page = await browser.newPage();
    await page.setViewportSize(viewport);
    await page.addInitScript({ path: path.join(import.meta.dirname, 'meeting-probe.js') });
    return new MeetingPage(page);
  }

  private constructor(page: Page) {
    this.page = page;
    page.on('console', (message) => {
      if (message.type() === 'error') this.errors.push(message.text());
    });
    page.on('pageerror', (error) => this.errors.push(error.message));
  }

  /** Opens the page, enters the name (which a link may have decided) and joins. */
  async join(url: string, name?: string): Promise<void> {
    await this.page.goto(url);
    if (name !== undefined) await this.page.getByLabel('Your name').fill(name);
    await this.page.getByRole('button', { name: 'Join the meeting' }).click();
  }

  async waitForMeeting(people: number): Promise<void> {
    const expected = people === 1 ? 'only you' : `${people} people`;
    await this.page.getByText(expected, { exact: true }).waitFor({ timeout: 20_000 });
  }

  async notice(): Promise<string> {
    const alert = this.page.getByRole('alert');
    await alert.waitFor({ timeout: 15_000 });
    return (await alert.textContent()) ?? '';
  }

  async press(name: string): Promise<void> {
    await this.page.getByRole('button', { name, exact: true }).click();
  }

  async say(text: string): Promise<void> {
    const field = this.page.getByRole('textbox', { name: 'Message' });
    await field.fill(text);
    await field.press('Enter');
    await this.page.getByRole('log').getByText(text).waitFor();
  }

  /** @param title accessible name of the picture, e.g. `Camera of Ana` */
  async look(title: string): Promise<PictureLook | undefined> {
    return this.page.evaluate((label) => window.probe.look(label), title);
  }

  async waitForPicture(title: string): Promise<PictureLook> {
    let look: PictureLook | undefined;
    await until(
      async () => {
        look = await this.look(title);
        return look && look.frames >= 10 && look.visible > 0.5 ? '' : `${title} looks like ${JSON.stringify(look)}`;
      },
      { timeoutMs: 20_000, intervalMs: 200 },
    );
    if (!look) throw new Error('unreachable');
    return look;
  }

  /** Waits until sound of others is louder than silence; Chromium's fake microphone beeps once a second. */
  async waitForSound(): Promise<void> {
    await until(
      async () => {
        const peak = await this.page.evaluate(async () => window.probe.audioPeak(1200));
        return peak > 0.01 ? '' : `the loudest sample was ${peak}`;
      },
      { timeoutMs: 20_000 },
    );
  }

  /** What is wrong with the page whatever it shows: controls without a name, or something wider than the window. */
  async flaws(): Promise<string[]> {
    const { nameless, overflowPx } = await this.page.evaluate(() => ({
      nameless: window.probe.nameless(),
      overflowPx: window.probe.overflowPx(),
    }));
    return [...nameless, ...(overflowPx > 0 ? [`${overflowPx} px wider than the window`] : []), ...this.errors];
  }
}
