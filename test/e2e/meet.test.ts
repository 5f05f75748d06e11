import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { RoomServiceClient } from 'livekit-server-sdk';
import { TestBrowser } from '../kit/browser.ts';
import { MeetingPage } from '../kit/meeting-page.ts';
import { startNode, type InProcessNode } from '../kit/node.ts';
import { devKey, joinToken } from '../kit/tokens.ts';
import { until } from '../kit/until.ts';

describe('meeting page', () => {
  let node: InProcessNode;
  let browser: TestBrowser;
  const pages: MeetingPage[] = [];

  before(async () => {
    node = await startNode({ config: { meet: { open: true } } });
    browser = await TestBrowser.start(['--auto-select-desktop-capture-source=Entire screen']);
  });

  after(async () => {
    await browser?.close();
    await node?.close();
  });

  async function open(viewport?: { width: number; height: number }): Promise<MeetingPage> {
    const page = await MeetingPage.open(browser, viewport);
    pages.push(page);
    return page;
  }

  async function closePages(): Promise<void> {
    for (const { page } of pages.splice(0)) await page.context().close();
  }

  function address(room: string, of: InProcessNode = node): string {
    return `http://localhost:${of.port}/meet/?room=${room}`;
  }

  it('brings two people together, who see, hear and read each other', async () => {
    const ana = await open();
    const ben = await open();
    await ana.page.goto(address('talk'));
    assert.deepEqual(await ana.flaws(), []);
    await ana.join(address('talk'), 'Ana');
    await ben.join(address('talk'), 'Ben Okafor');
    await ana.waitForMeeting(2);
    await ben.waitForMeeting(2);
    await ana.waitForPicture('Camera of Ben Okafor');
    const seen = await ben.waitForPicture('Camera of Ana');
    assert.ok(seen.width >= 320, `${seen.width} wide`);
    await ana.waitForSound();
    await ben.waitForSound();
    assert.equal(await ana.page.title(), 'talk – Plenum Meet');

    await ana.press('Chat');
    await ana.say('Hello Ben');
    await ben.page.getByRole('button', { name: 'Chat 1 unread' }).click();
    await ben.page.getByRole('log').getByText('Hello Ben').waitFor();
    await ben.say('Hello Ana');
    await ana.page.getByRole('log').getByText('Hello Ana').waitFor();
    assert.deepEqual(await ana.flaws(), []);
    await ana.press('Close the chat');

    await ben.press('Microphone');
    await ana.page.getByRole('img', { name: 'Microphone is off' }).waitFor();
    await ben.press('Microphone');
    await ana.page.getByRole('img', { name: 'Microphone is off' }).waitFor({ state: 'detached' });
    await ben.press('Camera');
    await ana.page.locator('[data-lk-video-muted="true"]').getByText('BO', { exact: true }).waitFor();
    await ben.press('Camera');

    await ben.press('Share screen');
    await ana.waitForPicture('Screen of Ben Okafor');
    assert.deepEqual(await ana.flaws(), []);
    await ben.press('Stop sharing');
    await ana.page.getByLabel('Screen of Ben Okafor').waitFor({ state: 'detached' });

    await ben.press('Leave');
    await ana.waitForMeeting(1);
    await ben.page.getByRole('button', { name: 'Join the meeting' }).waitFor();
    assert.equal(await ben.page.getByRole('alert').count(), 0);
    assert.deepEqual([...(await ana.flaws()), ...(await ben.flaws())], []);
    // The name is remembered, and the address still leads to the room.
    assert.equal(await ben.page.getByLabel('Your name').inputValue(), 'Ben Okafor');
    await ben.press('Join the meeting');
    await ana.waitForMeeting(2);
    await closePages();
  });

  it('fits a phone, with every control named', async () => {
    const phone = await open({ width: 390, height: 844 });
    await phone.page.goto(address('phone'));
    assert.deepEqual(await phone.flaws(), []);
    await phone.join(address('phone'), 'A rather long name of a person who holds a phone');
    await phone.waitForMeeting(1);
    await phone.press('Chat');
    await phone.say('x'.repeat(300));
    assert.deepEqual(await phone.flaws(), []);
    await phone.press('Close the chat');
    for (const name of [
      'Microphone',
      'Choose a microphone',
      'Camera',
      'Choose a camera',
      'Share screen',
      'Chat',
      'Leave',
    ]) {
      const box = await phone.page.getByRole('button', { name, exact: true }).boundingBox();
      assert.ok(box && box.x >= 0 && box.x + box.width <= 390 && box.height >= 40, `${name}: ${JSON.stringify(box)}`);
    }
    await closePages();
  });

  it('takes an invitation link where it is not open to everybody', async () => {
    const closed = await startNode();
    try {
      const token = await joinToken({ room: 'invited', identity: 'guest-1', name: 'Gabi Guest' });
      const host = await open();
      await host.join(address('invited', closed), 'Hugo');
      assert.match(await host.notice(), /invitation links only/);
      const guest = await open();
      await guest.join(`http://localhost:${closed.port}/meet/?token=${token}`);
      await guest.waitForMeeting(1);
      const rooms = new RoomServiceClient(closed.url, devKey.apiKey, devKey.apiSecret);
      const [participant] = await rooms.listParticipants('invited');
      assert.deepEqual([participant?.identity, participant?.name], ['guest-1', 'Gabi Guest']);
      // The link is personal: it is not offered to be passed on.
      assert.equal(await guest.page.getByText('Copy invitation link').count(), 0);
      assert.deepEqual(guest.errors, []);

      const watcher = await open();
      const grants = { canPublish: false, canPublishData: false };
      const watch = await joinToken({ room: 'invited', identity: 'watcher', grants });
      await watcher.join(`http://localhost:${closed.port}/meet/?token=${watch}`);
      await watcher.waitForPicture('Camera of Gabi Guest');
      assert.equal(await watcher.page.getByRole('button', { name: 'Microphone', exact: true }).count(), 0);
      assert.deepEqual(await watcher.flaws(), []);
    } finally {
      await closePages();
      await closed.close();
    }
  });

  it('says in words what went wrong', async () => {
    const rooms = new RoomServiceClient(node.url, devKey.apiKey, devKey.apiSecret);
    const page = await open();
    await page.join(address('errors'), ' ');
    assert.equal(await page.notice(), 'Please enter your name.');
    await page.join(address('%20'), 'Ana');
    assert.equal(await page.notice(), 'Please enter a room name.');
    const badLink = /This invitation link is not valid/;
    const foreign = await joinToken({
      room: 'errors',
      identity: 'x',
      key: { apiKey: devKey.apiKey, apiSecret: 'wrong' },
    });
    for (const token of ['nonsense', foreign, await joinToken({ room: 'errors', identity: 'x', ttlS: -600 })]) {
      await page.join(`http://localhost:${node.port}/meet/?token=${token}`);
      assert.match(await page.notice(), badLink);
    }
    await rooms.createRoom({ name: 'full', maxParticipants: 1 });
    const first = await open();
    await first.join(address('full'), 'First');
    await first.waitForMeeting(1);
    await page.join(address('full'), 'Second');
    assert.match(await page.notice(), /The meeting may be full/);
    await rooms.removeParticipant('full', (await rooms.listParticipants('full'))[0]?.identity ?? '');
    assert.equal(await first.notice(), 'You were removed from the meeting.');

    await page.join(address('errors'), 'Ana');
    await page.waitForMeeting(1);
    await rooms.deleteRoom('errors');
    assert.equal(await page.notice(), 'The meeting has ended.');
    await closePages();
  });

  it('says that the server is restarting or gone', async () => {
    const mortal = await startNode({ config: { meet: { open: true } } });
    const page = await open();
    await page.join(address('last', mortal), 'Ana');
    await page.waitForMeeting(1);
    await mortal.close();
    assert.match(await page.notice(), /server is restarting/);
    await page.press('Join the meeting');
    await until(async () => {
      const notice = await page.notice();
      return /server cannot be reached/.test(notice) ? '' : notice;
    });
    await closePages();
  });
});
