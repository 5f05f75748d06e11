import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { NodeId, ParticipantSid, TrackSid } from '../protocol/ids.ts';
import type { WantedSubscription } from '../protocol/leg-messages.ts';
import { planSubscriptions, type HeldSubscription, type SubscriptionView } from './plan-subscriptions.ts';

function want(trackSid: string, changes: Partial<WantedSubscription> = {}): WantedSubscription {
  return {
    trackSid: trackSid as TrackSid,
    publisherSid: 'PA_1' as ParticipantSid,
    streamId: `PA_1|${trackSid}`,
    kind: 'video',
    producerId: `${trackSid}:1`,
    home: { nodeId: 'ND_1' as NodeId, workerIndex: 0 },
    paused: false,
    quality: 2,
    maxFps: 0,
    priority: 0,
    ...changes,
  };
}

function held(trackSid: string, changes: Partial<HeldSubscription> = {}): [string, HeldSubscription] {
  return [
    trackSid,
    { trackSid, producerId: `${trackSid}:1`, kind: 'video', transportCc: false, ended: false, want: {}, ...changes },
  ];
}

function view(changes: Partial<SubscriptionView> & { adaptable?: string[]; audio?: string[] }): SubscriptionView {
  return {
    desired: [],
    held: new Map(),
    refused: new Map(),
    producer: (id) => ({
      kind: (changes.audio ?? []).includes(id) ? 'audio' : 'video',
      adaptable: (changes.adaptable ?? []).includes(id),
    }),
    ...changes,
  };
}

function summary(input: SubscriptionView): string[] {
  return planSubscriptions(input).actions.map((action) =>
    action.kind === 'close' || action.kind === 'dropSuccessor'
      ? `${action.kind} ${action.trackSid}`
      : `${action.kind} ${action.want.trackSid}${'transportCc' in action && action.transportCc ? ' cc' : ''}`,
  );
}

describe('subscription plan', () => {
  it('opens what is wanted and closes what is not, closing first', () => {
    assert.deepEqual(summary(view({ desired: [want('B')], held: new Map([held('A')]) })), ['close A', 'open B']);
  });

  it('only tunes what is already there', () => {
    assert.deepEqual(summary(view({ desired: [want('A')], held: new Map([held('A')]) })), ['tune A']);
  });

  it('opens a new slot for a client that let go and took it again before anybody noticed, and for no other', () => {
    const served = (generation: number) => new Map([held('A', { want: { generation } })]);
    const wanted = (generation?: number) => [want('A', generation === undefined ? {} : { generation })];
    assert.deepEqual(summary(view({ desired: wanted(2), held: served(1) })), ['close A', 'open A']);
    assert.deepEqual(summary(view({ desired: wanted(2), held: served(2) })), ['tune A']);
    // A host that took the room over has not counted what was before.
    assert.deepEqual(summary(view({ desired: wanted(), held: served(2) })), ['tune A']);
  });

  it('opens a new slot when the producer changed or ended', () => {
    const replaced = view({ desired: [want('A', { producerId: 'A:2' })], held: new Map([held('A')]) });
    assert.deepEqual(summary(replaced), ['close A', 'open A']);
    const ended = view({ desired: [want('A')], held: new Map([held('A', { ended: true })]) });
    assert.deepEqual(summary(ended), ['close A', 'open A']);
  });

  it('closes what is held of a producer that is gone, whether or not that was noticed otherwise', () => {
    const plan = planSubscriptions(
      view({ desired: [want('A')], held: new Map([held('A')]), producer: () => undefined }),
    );
    assert.deepEqual(plan, { actions: [{ kind: 'close', trackSid: 'A' }], missing: ['A'] });
  });

  it('reports tracks whose producer is not here and leaves them out', () => {
    const plan = planSubscriptions(view({ desired: [want('A')], producer: () => undefined }));
    assert.deepEqual(plan, { actions: [], missing: ['A'] });
  });

  it('does not try a refused producer again until another one replaces it', () => {
    const refused = new Map([['A', 'A:1']]);
    assert.deepEqual(summary(view({ desired: [want('A')], refused })), []);
    assert.deepEqual(summary(view({ desired: [want('A', { producerId: 'A:2' })], refused })), ['open A']);
  });

  it('uses no bandwidth estimation without an adaptable video', () => {
    assert.deepEqual(summary(view({ desired: [want('A'), want('B')] })), ['open A', 'open B']);
  });

  it('uses bandwidth estimation for all videos, not for audio, when one is adaptable', () => {
    const desired = [want('A'), want('B'), want('C', { kind: 'audio' })];
    assert.deepEqual(summary(view({ desired, adaptable: ['B:1'], audio: ['C:1'] })), [
      'open A cc',
      'open B cc',
      'open C',
    ]);
  });

  it('reopens plain videos in their slots when the first adaptable one arrives', () => {
    const input = view({ desired: [want('A'), want('B')], held: new Map([held('A')]), adaptable: ['B:1'] });
    assert.deepEqual(summary(input), ['reopen A cc', 'open B cc']);
  });

  it('keeps estimation while a consumer that has it stays, so that all agree', () => {
    const input = view({
      desired: [want('A'), want('C')],
      held: new Map([held('A', { transportCc: true }), held('B', { transportCc: true })]),
    });
    assert.deepEqual(summary(input), ['close B', 'tune A', 'open C cc']);
    const last = view({ desired: [want('C')], held: new Map([held('B', { transportCc: true })]) });
    assert.deepEqual(summary(last), ['close B', 'open C']);
  });

  it('makes a consumer of a producer to come beside the one that flows, once that is here', () => {
    const successor = { producerId: 'A:2', home: { nodeId: 'ND_2' as NodeId, workerIndex: 0 } };
    const desired = [want('A', { successor })];
    assert.deepEqual(summary(view({ desired, held: new Map([held('A')]) })), ['tune A', 'readySuccessor A']);
    const ready = new Map([held('A', { successorId: 'A:2' })]);
    assert.deepEqual(summary(view({ desired, held: ready })), ['tune A']);
    assert.deepEqual(summary(view({ desired: [want('A')], held: ready })), ['tune A', 'dropSuccessor A']);
    const missing = view({
      desired,
      held: new Map([held('A')]),
      producer: (id) => (id === 'A:2' ? undefined : { kind: 'video', adaptable: false }),
    });
    assert.deepEqual(summary(missing), ['tune A']);
    assert.deepEqual(summary(view({ desired })), ['open A'], 'a track that does not flow yet has nothing to lose');
  });

  it('lets a producer take over the slot of its predecessor, also when that is gone already', () => {
    const desired = [want('A', { producerId: 'A:2', predecessor: 'A:1' })];
    assert.deepEqual(summary(view({ desired, held: new Map([held('A')]) })), ['swap A']);
    assert.deepEqual(summary(view({ desired, held: new Map([held('A', { ended: true })]) })), ['swap A']);
    const late = view({
      desired,
      held: new Map([held('A', { transportCc: true })]),
      producer: (id) => (id === 'A:2' ? undefined : { kind: 'video', adaptable: false }),
    });
    assert.deepEqual(planSubscriptions(late), { actions: [], missing: ['A'] }, 'the old one goes on until then');
    assert.deepEqual(summary(view({ desired, held: new Map([held('A', { transportCc: true })]) })), ['swap A cc']);
  });

  it('makes the consumers of slots that were taken over, and keeps those slots while their producers are on the way', () => {
    const taken = new Map([held('A', { awaitsConsumer: true, transportCc: true })]);
    assert.deepEqual(summary(view({ desired: [want('A')], held: taken })), ['reopen A cc']);
    const waiting = view({ desired: [want('A')], held: taken, producer: () => undefined });
    assert.deepEqual(planSubscriptions(waiting), { actions: [], missing: ['A'] });
    assert.deepEqual(summary(view({ held: taken })), ['close A']);
  });
});
