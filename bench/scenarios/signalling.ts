import { setTimeout as delay } from 'node:timers/promises';
import { UpdateParticipantMetadata } from '@livekit/protocol';
import type { LightClient } from '../../test/kit/light-client.ts';
import type { SignalMessage } from '../../test/kit/light/light-signal.ts';
import { opus } from '../crowd.ts';
import { newRoomName, type Bench, type Scenario, type Stage } from '../scenario.ts';
import { percentile } from '../statistics.ts';

const people = 500;
const speakers = 20;
const windowS = 15;
const perSecond = { mutes: 20, metadata: 10, joinsAndLeaves: 10 };

/** A large room that is busy with everything but media: nobody subscribes. */
export const signalling: Scenario = {
  name: 'signalling',
  title: `room of ${people} without subscriptions: ${perSecond.mutes} mutes, ${perSecond.metadata} metadata changes, ${perSecond.joinsAndLeaves} joins and leaves per second`,
  byDefault: true,
  run: async (bench) =>
    bench.onStage({}, async (stage) => {
      bench.progress('signalling, joining');
      const room = newRoomName('signalling');
      const witness = new Witness();
      const crowd = await fill(bench, stage, room, witness);
      await stage.meter.over(bench.seconds(4));
      const quiet = await stage.meter.over(bench.seconds(4));
      bench.progress('signalling, busy');
      witness.restart();
      const before = received(crowd.listeners);
      const seconds = bench.seconds(windowS);
      const window = await stage.meter.during(async () => makeNoise(stage, room, crowd, { seconds, witness }));
      const after = received(crowd.listeners);
      // What was sent last is still on its way.
      await stage.meter.over(0.5);
      const events = (perSecond.mutes + perSecond.metadata + perSecond.joinsAndLeaves) * window.seconds;
      const figures: Record<string, number> = {
        'CPU %': (window.serverCpuS * 100) / window.seconds,
        'quiet CPU %': (quiet.serverCpuS * 100) / quiet.seconds,
        'CPU ms/event': (window.serverCpuS * 1000) / events,
        'messages/s per client': (after.messages - before.messages) / crowd.listeners.length / window.seconds,
        'bytes/s per client': (after.bytes - before.bytes) / crowd.listeners.length / window.seconds,
        'mute seen p50 ms': percentile(witness.delaysMs, 0.5),
        'p99 ms': percentile(witness.delaysMs, 0.99),
        'mutes seen %': (witness.delaysMs.length * 100) / Math.max(1, witness.expected),
        'load CPU %': (window.loadCpuS * 100) / window.seconds,
        'foreign CPU %': window.foreignCores * 100,
      };
      for (const [kind, cpuS] of Object.entries(window.cpuS)) {
        figures[`${kind} CPU %`] = (cpuS * 100) / window.seconds;
      }
      return [{ series: `room of ${bench.size(people)}`, figures }];
    }),
};

/** A member that reads everything and notes when a change of a track's mute reaches it. */
class Witness {
  readonly #awaited = new Map<string, { muted: boolean; sinceMs: number }>();
  delaysMs: number[] = [];
  expected = 0;

  restart(): void {
    this.delaysMs = [];
    this.expected = 0;
    this.#awaited.clear();
  }

  expect(trackSid: string, muted: boolean): void {
    this.expected += 1;
    this.#awaited.set(trackSid, { muted, sinceMs: performance.now() });
  }

  see(message: SignalMessage): void {
    if (message.case !== 'update') {
      return;
    }
    for (const { sid, muted } of message.value.participants.flatMap(({ tracks }) => tracks)) {
      const awaited = this.#awaited.get(sid);
      if (awaited?.muted === muted) {
        this.#awaited.delete(sid);
        this.delaysMs.push(performance.now() - awaited.sinceMs);
      }
    }
  }
}

type Members = { listeners: LightClient[]; speakers: LightClient[] };

async function fill(bench: Bench, stage: Stage, room: string, witness: Witness): Promise<Members> {
  const { crowd } = stage;
  const still = { autoSubscribe: false, canUpdateMetadata: true };
  await crowd.join(room, 'witness', { ...still, crowd: false, onMessage: (message) => witness.see(message) });
  const talkers = await crowd.joinMany(bench.size(speakers), 30, async (index) =>
    crowd.join(room, `speaker-${index}`, { ...still, publish: { audio: { ...opus, levelDbov: 70 } } }),
  );
  const listeners = await crowd.joinMany(bench.size(people - speakers), 40, async (index) =>
    crowd.join(room, `listener-${index}`, still),
  );
  return { listeners, speakers: talkers };
}

function received(clients: readonly LightClient[]): { messages: number; bytes: number } {
  return clients.reduce(
    (sum, { signalReceived }) => ({
      messages: sum.messages + signalReceived.messages,
      bytes: sum.bytes + signalReceived.bytes,
    }),
    { messages: 0, bytes: 0 },
  );
}

/** Each kind of event at its rate, whether the server follows or not. */
async function makeNoise(
  stage: Stage,
  room: string,
  members: Members,
  options: { seconds: number; witness: Witness },
): Promise<void> {
  const { seconds, witness } = options;
  const muted = new Set<LightClient>();
  const toggle = (index: number): void => {
    const speaker = members.speakers[index % members.speakers.length];
    const [trackSid] = speaker?.publishedTrackSids ?? [];
    if (speaker !== undefined && trackSid !== undefined) {
      const mute = !muted.delete(speaker);
      if (mute) {
        muted.add(speaker);
      }
      witness.expect(trackSid, mute);
      speaker.setMuted(trackSid, mute);
    }
  };
  const describe = (index: number): void => {
    const metadata = JSON.stringify({ hand: index });
    members.listeners[index % members.listeners.length]?.send({
      case: 'updateMetadata',
      value: new UpdateParticipantMetadata({ metadata, requestId: index + 1 }),
    });
  };
  const passers: Promise<LightClient>[] = [];
  const comeAndGo = async (index: number): Promise<void> => {
    if (index % 2 === 0) {
      passers.push(stage.crowd.join(room, `passer-${index}`, { autoSubscribe: false }));
      return;
    }
    // Who goes came a second before.
    const passer = await passers[Math.floor(index / 2) - perSecond.joinsAndLeaves / 2];
    if (passer !== undefined) {
      await stage.crowd.leave(passer);
    }
  };
  await Promise.all([
    atRate(perSecond.mutes, seconds, toggle),
    atRate(perSecond.metadata, seconds, describe),
    atRate(perSecond.joinsAndLeaves, seconds, comeAndGo),
  ]);
}

async function atRate(rate: number, seconds: number, act: (index: number) => void | Promise<void>): Promise<void> {
  const startMs = performance.now();
  const running: Promise<void>[] = [];
  for (let index = 0; index < rate * seconds; index += 1) {
    await delay(Math.max(0, startMs + (index * 1000) / rate - performance.now()));
    running.push(Promise.resolve(act(index)));
    running.at(-1)?.catch(() => {});
  }
  await Promise.all(running);
}
