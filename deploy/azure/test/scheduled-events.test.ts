import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ScheduledEvents, type PlatformEvent } from '../../../src/azure/scheduled-events.ts';
import { createLog } from '../../../src/observe/log.ts';
import { until } from '../../../test/kit/until.ts';
import { FakeMetadata } from '../fakes/metadata-server.ts';

const machineName = 'calls-mediaNodeScaleSet_000001';

describe('events that the platform schedules', () => {
  let metadata: FakeMetadata;
  let events: ScheduledEvents;
  let seen: PlatformEvent[];
  let empty: PromiseWithResolvers<void>;

  beforeEach(async () => {
    metadata = await FakeMetadata.start({
      machineName,
      computerName: 'media-000001',
      publicAddress: '203.0.113.1',
      privateAddress: '10.0.0.4',
      tenantId: 't',
      zone: '1',
    });
    seen = [];
    empty = Promise.withResolvers();
    events = new ScheduledEvents({
      url: metadata.url,
      machineName,
      onEvent: (event) => {
        seen.push(event);
        return empty.promise;
      },
      log: createLog({ level: 'error', json: true }),
      now: Date.now,
      intervalMs: 10,
    });
    events.start();
  });
  afterEach(async () => {
    empty.resolve();
    await events.close();
    await metadata.close();
  });

  for (const type of ['Terminate', 'Reboot', 'Redeploy', 'Freeze', 'Preempt'] as const) {
    it(`lead to a drain within the notice, and are acknowledged when the node is empty: ${type}`, async () => {
      const { EventId } = metadata.schedule({ EventType: type });
      await until(() => (seen.length === 1 ? '' : 'nothing is seen'));
      assert.equal(seen[0]?.type, type);
      assert.equal(seen[0]?.takesMachine, type === 'Terminate' || type === 'Preempt');
      assert.ok(seen[0].remainingMs > 14 * 60_000 && seen[0].remainingMs <= 15 * 60_000);
      assert.deepEqual(metadata.acknowledged, []);
      empty.resolve();
      await until(() => (metadata.acknowledged.length === 1 ? '' : 'it is not acknowledged'));
      assert.deepEqual(metadata.acknowledged, [EventId]);
    });
  }

  it('that freeze the machine for seconds are acknowledged at once, and nobody is moved', async () => {
    metadata.schedule({ EventType: 'Freeze', DurationInSeconds: 5 });
    await until(() => (metadata.acknowledged.length === 1 ? '' : 'it is not acknowledged'));
    assert.deepEqual(seen, []);
  });

  it('of other machines of the set are none of its business', async () => {
    metadata.schedule({ EventType: 'Terminate', Resources: ['calls-mediaNodeScaleSet_000002'] });
    const { EventId } = metadata.schedule({ EventType: 'Reboot' });
    await until(() => (seen.length === 1 ? '' : 'nothing is seen'));
    assert.equal(seen[0]?.id, EventId);
    assert.equal(seen[0]?.type, 'Reboot');
  });

  it('are seen again after an outage of the metadata service', async () => {
    metadata.isAway = true;
    metadata.schedule({ EventType: 'Terminate' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(seen, []);
    metadata.isAway = false;
    await until(() => (seen.length === 1 ? '' : 'nothing is seen'));
  });
});
