import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import { ParticipantInfo, Room, WebhookEvent } from '@livekit/protocol';
import { WebhookReceiver } from 'livekit-server-sdk';
import { createLog } from '../observe/log.ts';
import type { WebhookBounds, WebhookClock, WebhookObserver } from './webhook-queues.ts';
import { WebhookSender, type WebhookSenderOptions } from './webhook-sender.ts';

const log = createLog({ level: 'silent', json: true });
const keys = { devkey: 'secret', otherkey: 'othersecret' };
const deadlineMs = 5_000;

type Received = { event: WebhookEvent; contentType: string | undefined; rawBody: string };

/** Answers one request; called in the order of arrival, from 0. */
type Answer = (index: number, response: ServerResponse) => void;

/** A real HTTP endpoint that checks each webhook with LiveKit's own receiver before it counts. */
class Endpoint {
  readonly received: Received[] = [];
  readonly problems: unknown[] = [];
  readonly #server: Server;
  readonly #answer: Answer;
  #arrived: (() => void)[] = [];

  constructor(answer: Answer) {
    this.#answer = answer;
    this.#server = createServer((request, response) => void this.#handle(request, response));
  }

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  names(): string[] {
    return this.received.map(({ event }) => event.event);
  }

  async untilReceived(count: number): Promise<void> {
    await until(
      () => this.received.length + this.problems.length >= count,
      (changed) => this.#arrived.push(changed),
    );
    assert.deepEqual(this.problems, []);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) {
        chunks.push(chunk as Buffer);
      }
      const rawBody = Buffer.concat(chunks).toString('utf8');
      const receiver = new WebhookReceiver('devkey', keys.devkey);
      const event = await receiver.receive(rawBody, request.headers.authorization);
      this.received.push({ event, contentType: request.headers['content-type'], rawBody });
    } catch (error) {
      this.problems.push(error);
    }
    this.#answer(this.received.length - 1, response);
    for (const changed of this.#arrived.splice(0)) {
      changed();
    }
  }
}

async function until(condition: () => boolean, onChange: (changed: () => void) => void): Promise<void> {
  const deadline = AbortSignal.timeout(deadlineMs);
  while (!condition()) {
    await new Promise<void>((resolve, reject) => {
      deadline.addEventListener('abort', () => reject(new Error('the condition was not met in time')), { once: true });
      onChange(resolve);
    });
  }
}

class Observer implements WebhookObserver {
  readonly outcomes: string[] = [];
  queued = 0;
  #changed: (() => void)[] = [];

  dispatched(event: string, outcome: string): void {
    this.outcomes.push(`${event} ${outcome}`);
    for (const changed of this.#changed.splice(0)) {
      changed();
    }
  }

  queueChanged(delta: number): void {
    this.queued += delta;
  }

  untilDispatched(count: number): Promise<void> {
    return until(
      () => this.outcomes.length >= count,
      (changed) => this.#changed.push(changed),
    );
  }
}

type Setup = {
  urls: string[];
  bounds?: Partial<WebhookBounds>;
  clock?: WebhookClock;
  filter?: { include_events?: string[]; exclude_events?: string[] };
};

function createSender({ urls, bounds, clock, filter }: Setup): { sender: WebhookSender; observer: Observer } {
  const observer = new Observer();
  const options: WebhookSenderOptions = {
    config: { api_key: 'devkey', urls, filter_params: { include_events: [], exclude_events: [], ...filter } },
    keys,
    observer,
    log,
    bounds: { retryDelaysMs: [5, 5, 5, 5], ...bounds },
    ...(clock === undefined ? {} : { clock }),
  };
  return { sender: new WebhookSender(options), observer };
}

function event(name: string, roomName = 'demo'): WebhookEvent {
  return new WebhookEvent({ event: name, room: new Room({ sid: 'RM_x', name: roomName }) });
}

const ok: Answer = (_index, response) => void response.end('thanks');

function statuses(...codes: number[]): Answer {
  return (index, response) => {
    response.statusCode = codes[index] ?? 200;
    response.end();
  };
}

describe('WebhookSender', () => {
  const endpoints: Endpoint[] = [];
  const senders: WebhookSender[] = [];

  async function endpoint(answer: Answer): Promise<{ endpoint: Endpoint; url: string }> {
    const created = new Endpoint(answer);
    endpoints.push(created);
    return { endpoint: created, url: await created.start() };
  }

  function sending(setup: Setup): { sender: WebhookSender; observer: Observer } {
    const created = createSender(setup);
    senders.push(created.sender);
    return created;
  }

  afterEach(async () => {
    await Promise.all(senders.splice(0).map((sender) => sender.close(AbortSignal.abort())));
    for (const created of endpoints.splice(0)) {
      created.stop();
    }
  });

  it('posts signed protojson that LiveKit’s receiver verifies', async () => {
    const { endpoint: hook, url } = await endpoint(ok);
    const clock = { nowMs: () => Date.now(), monotonicMs: () => 0 };
    const { sender } = sending({ urls: [url], clock });
    const startS = Math.floor(Date.now() / 1000);
    const joined = new WebhookEvent({
      event: 'participant_joined',
      room: new Room({ sid: 'RM_x', name: 'Zürich', numParticipants: 2 }),
      participant: new ParticipantInfo({ sid: 'PA_x', identity: 'ana' }),
    });
    sender.publish(joined);
    await hook.untilReceived(1);
    const [received] = hook.received;
    assert.equal(received?.contentType, 'application/webhook+json');
    assert.equal(received.event.participant?.identity, 'ana');
    assert.equal(received.event.room?.name, 'Zürich');
    assert.match(received.event.id, /^EV_\w{12}$/);
    assert.ok(Number(received.event.createdAt) >= startS);
    const json = JSON.parse(received.rawBody) as { createdAt: unknown; room: object };
    assert.equal(typeof json.createdAt, 'string');
    assert.deepEqual(json.room, { sid: 'RM_x', name: 'Zürich', numParticipants: 2 });
  });

  it('keeps the order of a room’s events through retries, and the id of each', async () => {
    const { endpoint: hook, url } = await endpoint(statuses(500, 503, 200));
    const { sender, observer } = sending({ urls: [url] });
    sender.publish(event('room_started'));
    sender.publish(event('participant_joined'));
    sender.publish(event('room_finished'));
    await hook.untilReceived(5);
    assert.deepEqual(hook.names(), [
      'room_started',
      'room_started',
      'room_started',
      'participant_joined',
      'room_finished',
    ]);
    const ids = hook.received.map(({ event: { id } }) => id);
    assert.equal(ids[0], ids[1]);
    assert.equal(ids[0], ids[2]);
    assert.equal(new Set(ids).size, 3);
    await observer.untilDispatched(3);
    assert.deepEqual(observer.outcomes, [
      'room_started delivered',
      'participant_joined delivered',
      'room_finished delivered',
    ]);
    assert.equal(observer.queued, 0);
  });

  it('gives an event up after four retries and tells the receiver with the next one', async () => {
    const { endpoint: hook, url } = await endpoint(statuses(500, 500, 500, 500, 500, 200));
    const { sender, observer } = sending({ urls: [url] });
    sender.publish(event('room_started'));
    sender.publish(event('participant_joined'));
    sender.publish(event('room_finished'));
    await hook.untilReceived(7);
    assert.deepEqual(hook.names().slice(5), ['participant_joined', 'room_finished']);
    assert.deepEqual(
      hook.received.slice(5).map(({ event: { numDropped } }) => numDropped),
      [1, 0],
    );
    assert.equal(observer.outcomes[0], 'room_started failed');
  });

  it('does not retry what the receiver refuses', async () => {
    const { endpoint: hook, url } = await endpoint(statuses(400, 200));
    const { sender, observer } = sending({ urls: [url] });
    sender.publish(event('room_started'));
    sender.publish(event('room_finished'));
    await hook.untilReceived(2);
    await observer.untilDispatched(2);
    assert.deepEqual(hook.names(), ['room_started', 'room_finished']);
    assert.deepEqual(observer.outcomes, ['room_started failed', 'room_finished delivered']);
  });

  it('retries when the connection breaks', async () => {
    const { endpoint: hook, url } = await endpoint((index, response) => {
      if (index === 0) {
        response.destroy();
      } else {
        response.end();
      }
    });
    const { sender, observer } = sending({ urls: [url] });
    sender.publish(event('room_started'));
    await hook.untilReceived(2);
    await observer.untilDispatched(1);
    assert.deepEqual(observer.outcomes, ['room_started delivered']);
  });

  it('retries when the receiver does not answer in time', async () => {
    const { endpoint: hook, url } = await endpoint((index, response) => {
      if (index > 0) {
        response.end();
      }
    });
    const { sender, observer } = sending({ urls: [url], bounds: { timeoutMs: 50 } });
    sender.publish(event('room_started'));
    await hook.untilReceived(2);
    await observer.untilDispatched(1);
    assert.deepEqual(observer.outcomes, ['room_started delivered']);
  });

  it('lets a room wait for nobody but itself', async () => {
    const held: ServerResponse[] = [];
    const { endpoint: hook, url } = await endpoint((index, response) => {
      if (index === 0) {
        held.push(response);
      } else {
        response.end();
      }
    });
    const { sender } = sending({ urls: [url] });
    sender.publish(event('room_started', 'slow'));
    await hook.untilReceived(1);
    sender.publish(event('room_finished', 'slow'));
    sender.publish(event('room_started', 'other'));
    await hook.untilReceived(2);
    assert.equal(hook.received[1]?.event.room?.name, 'other');
    held[0]?.end();
    await hook.untilReceived(3);
    assert.equal(hook.received[2]?.event.event, 'room_finished');
  });

  it('bounds the posts under way', async () => {
    const held: ServerResponse[] = [];
    const { endpoint: hook, url } = await endpoint((_index, response) => void held.push(response));
    const { sender, observer } = sending({ urls: [url], bounds: { maxConcurrentPosts: 2 } });
    for (const room of ['a', 'b', 'c']) {
      sender.publish(event('room_started', room));
    }
    await hook.untilReceived(2);
    assert.equal(observer.queued, 3);
    held[0]?.end();
    await hook.untilReceived(3);
    // The third was posted only because the first was answered.
    assert.deepEqual(observer.outcomes, ['room_started delivered']);
  });

  it('drops what exceeds the queue of a room and counts it', async () => {
    const held: ServerResponse[] = [];
    const { endpoint: hook, url } = await endpoint((index, response) => {
      if (index === 0) {
        held.push(response);
      } else {
        response.end();
      }
    });
    const { sender, observer } = sending({ urls: [url], bounds: { maxQueued: 2 } });
    sender.publish(event('room_started'));
    await hook.untilReceived(1);
    sender.publish(event('participant_joined'));
    sender.publish(event('track_published'));
    sender.publish(event('track_unpublished'));
    assert.deepEqual(observer.outcomes, ['track_published dropped', 'track_unpublished dropped']);
    held[0]?.end();
    await hook.untilReceived(2);
    await observer.untilDispatched(4);
    assert.deepEqual(hook.names(), ['room_started', 'participant_joined']);
    assert.equal(hook.received[1]?.event.numDropped, 2);
    assert.equal(observer.queued, 0);
  });

  it('drops events that waited too long', async () => {
    let nowMs = 0;
    const clock = { nowMs: () => Date.now(), monotonicMs: () => nowMs };
    const held: ServerResponse[] = [];
    const { endpoint: hook, url } = await endpoint((index, response) => {
      if (index === 0) {
        held.push(response);
      } else {
        response.end();
      }
    });
    const { sender, observer } = sending({ urls: [url], clock });
    sender.publish(event('room_started'));
    await hook.untilReceived(1);
    sender.publish(event('participant_joined'));
    nowMs = 20_000;
    sender.publish(event('room_finished'));
    nowMs = 30_001;
    held[0]?.end();
    await hook.untilReceived(2);
    await observer.untilDispatched(3);
    assert.deepEqual(hook.names(), ['room_started', 'room_finished']);
    assert.equal(hook.received[1]?.event.numDropped, 1);
    assert.deepEqual(observer.outcomes, [
      'room_started delivered',
      'participant_joined dropped',
      'room_finished delivered',
    ]);
  });

  it('drops events of further rooms when too many wait', async () => {
    const { endpoint: hook, url } = await endpoint(() => {});
    const { sender, observer } = sending({ urls: [url], bounds: { maxKeys: 1 } });
    sender.publish(event('room_started', 'a'));
    await hook.untilReceived(1);
    sender.publish(event('room_started', 'b'));
    assert.deepEqual(observer.outcomes, ['room_started dropped']);
    assert.equal(observer.queued, 1);
  });

  it('delivers to each URL on its own', async () => {
    const dead = await endpoint(() => {});
    const alive = await endpoint(ok);
    const { sender } = sending({ urls: [dead.url, alive.url] });
    sender.publish(event('room_started'));
    sender.publish(event('room_finished'));
    await alive.endpoint.untilReceived(2);
    await dead.endpoint.untilReceived(1);
    assert.equal(dead.endpoint.received[0]?.event.id, alive.endpoint.received[0]?.event.id);
    assert.equal(dead.endpoint.received.length, 1);
  });

  it('sends only the events that the filter lets through', async () => {
    const { endpoint: hook, url } = await endpoint(ok);
    const including = sending({ urls: [url], filter: { include_events: ['room_started'] } });
    const excluding = sending({ urls: [url], filter: { exclude_events: ['room_started'] } });
    for (const { sender } of [including, excluding]) {
      sender.publish(event('room_started'));
      sender.publish(event('room_finished'));
    }
    await hook.untilReceived(2);
    await including.observer.untilDispatched(1);
    await excluding.observer.untilDispatched(1);
    assert.deepEqual(including.observer.outcomes, ['room_started delivered']);
    assert.deepEqual(excluding.observer.outcomes, ['room_finished delivered']);
  });

  it('close waits for what is under way', async () => {
    const { endpoint: hook, url } = await endpoint(statuses(500, 200));
    const { sender, observer } = sending({ urls: [url] });
    sender.publish(event('room_started'));
    sender.publish(event('room_finished'));
    await sender.close(AbortSignal.timeout(deadlineMs));
    assert.deepEqual(hook.names(), ['room_started', 'room_started', 'room_finished']);
    assert.equal(observer.queued, 0);
  });

  it('close throws away what is left at its deadline, and takes nothing afterwards', async () => {
    const { endpoint: hook, url } = await endpoint(() => {});
    const { sender, observer } = sending({ urls: [url] });
    sender.publish(event('room_started'));
    sender.publish(event('room_finished'));
    await hook.untilReceived(1);
    await sender.close(AbortSignal.timeout(20));
    sender.publish(event('participant_left'));
    assert.deepEqual(observer.outcomes, ['room_started dropped', 'room_finished dropped', 'participant_left dropped']);
    assert.equal(observer.queued, 0);
    await sender.close(AbortSignal.abort());
  });

  it('refuses URLs without a key that can sign', () => {
    const config = {
      api_key: 'nobody',
      urls: ['http://127.0.0.1:1'],
      filter_params: { include_events: [], exclude_events: [] },
    };
    assert.throws(() => new WebhookSender({ config, keys, observer: new Observer(), log }), {
      reason: 'webhook-key-unknown',
    });
  });
});
