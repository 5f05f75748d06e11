/** Plays the room host and a browser's answers for tests of legs: no signalling, no room. */
import assert from 'node:assert/strict';
import type { Link } from '../../src/cluster/link.ts';
import { memoryLink } from '../../src/cluster/memory-link.ts';
import type { LegNode } from '../../src/leg/leg-node.ts';
import { participantOfLeg, type LegId, type ParticipantSid, type TrackSid } from '../../src/protocol/ids.ts';
import type {
  ActualLeg,
  ActualPublication,
  HostToLeg,
  LegIdentity,
  LegToHost,
  WantedLeg,
  WantedPublication,
  WantedSubscription,
} from '../../src/protocol/leg-messages.ts';
import type { Section, SessionDescription } from '../../src/sdp/description.ts';
import { formatDescription } from '../../src/sdp/format.ts';
import { answerLimits, parseDescription } from '../../src/sdp/parse.ts';
import { readGolden, type Wish } from '../sdp/golden.ts';
import { until } from './until.ts';

const fingerprint = Array.from({ length: 32 }, (_, index) => index.toString(16).padStart(2, '0').toUpperCase()).join(
  ':',
);

/** A browser's answer to a subscriber offer, with exceptions by mid. */
export function answerTo(sdp: string, exceptions: Record<string, 'inactive' | 'rejected'> = {}): string {
  const offer = parseDescription(sdp, answerLimits);
  const sections: SessionDescription['sections'] = offer.sections.map((section) => {
    const direction =
      section.direction === 'sendonly' && exceptions[section.mid] === undefined ? 'recvonly' : 'inactive';
    return {
      ...section,
      direction: section.kind === 'application' ? 'sendrecv' : direction,
      rejected: exceptions[section.mid] === 'rejected',
      setup: 'active',
      ice: { usernameFragment: 'abcd', password: 'abcdefghijklmnopqrstuvwx' },
      fingerprints: [{ algorithm: 'sha-256', value: fingerprint }],
      candidates: [],
      msids: [],
      ssrcs: [],
      ssrcGroups: [],
    };
  });
  return formatDescription({
    ...offer,
    iceLite: false,
    bundle: sections.filter((section) => !section.rejected).map(({ mid }) => mid),
    sections,
  });
}

/** Plays the room host: sends wanted states and keeps what the leg said. */
export class FakeHost {
  readonly messages: LegToHost[] = [];
  readonly #link: Link<HostToLeg, LegToHost>;
  readonly #wantedByLeg = new Map<LegId, WantedLeg>();
  readonly #identities = new Map<LegId, LegIdentity>();
  #version = 0;

  constructor(node: LegNode) {
    // Cloning proves that every message is plain data.
    const [host, leg] = memoryLink<HostToLeg, LegToHost>({ transfer: (message) => structuredClone(message) });
    this.#link = host;
    host.onMessage((message) => this.messages.push(message));
    node.addHost(leg);
  }

  send(message: HostToLeg): void {
    if (message.kind === 'open' || message.kind === 'wanted') this.#wantedByLeg.set(message.leg, message.wanted);
    if (message.kind === 'open') this.#identities.set(message.leg, message.identity);
    this.#link.send(message);
  }

  /** What the leg was told last. */
  wantedOf(leg: LegId): WantedLeg {
    const wanted = this.#wantedByLeg.get(leg);
    assert.ok(wanted !== undefined, `${leg} was not opened`);
    return wanted;
  }

  identityOf(leg: LegId): LegIdentity {
    const identity = this.#identities.get(leg);
    assert.ok(identity !== undefined, `${leg} was not opened`);
    return identity;
  }

  close(): void {
    this.#link.close();
  }

  open(name: string, wanted: Partial<WantedLeg> = {}, identity: Partial<LegIdentity> = {}): ParticipantSid {
    const leg = `PA_${name}` as ParticipantSid;
    this.send({
      kind: 'open',
      leg,
      identity: {
        roomName: 'room',
        participantSid: leg,
        identity: name,
        hidden: false,
        participantKind: 0,
        canSubscribeMetrics: false,
        client: {
          sdk: 1,
          version: '2.23.0',
          protocol: 16,
          clientProtocol: 0,
          os: '',
          osVersion: '',
          deviceModel: '',
          browser: '',
          browserVersion: '',
          network: '',
          address: '',
          capabilities: [],
        },
        ...identity,
      },
      wanted: this.#wanted(wanted),
    });
    return leg;
  }

  want(leg: LegId, wanted: Partial<WantedLeg>): number {
    const full = this.#wanted(wanted);
    this.send({ kind: 'wanted', leg, wanted: full });
    return full.version;
  }

  of<Kind extends LegToHost['kind']>(kind: Kind, leg?: string): Extract<LegToHost, { kind: Kind }>[] {
    return this.messages.filter(
      (message): message is Extract<LegToHost, { kind: Kind }> =>
        message.kind === kind && (leg === undefined || ('leg' in message && message.leg === leg)),
    );
  }

  /** The n-th message of that kind. */
  async nth<Kind extends LegToHost['kind']>(
    kind: Kind,
    leg: string,
    count: number,
  ): Promise<Extract<LegToHost, { kind: Kind }>> {
    await until(() =>
      this.of(kind, leg).length >= count
        ? ''
        : `${this.of(kind, leg).length} of ${count} ${kind}: ${JSON.stringify(this.of('failed'))}`,
    );
    const found = this.of(kind, leg)[count - 1];
    assert.ok(found !== undefined);
    return found;
  }

  actual(leg: string): ActualLeg | undefined {
    return this.of('actual', leg).at(-1)?.actual;
  }

  async reached(leg: string, what: string, test: (actual: ActualLeg) => boolean): Promise<ActualLeg> {
    await until(() => {
      const actual = this.actual(leg);
      return actual !== undefined && test(actual)
        ? ''
        : `${what}: ${JSON.stringify(actual)} ${JSON.stringify(this.of('failed'))}`;
    });
    const actual = this.actual(leg);
    assert.ok(actual !== undefined);
    return actual;
  }

  answer(leg: LegId, offer: { id: number; sdp: string }, exceptions: Parameters<typeof answerTo>[1] = {}): void {
    this.send({ kind: 'clientAnswer', leg, id: offer.id, sdp: answerTo(offer.sdp, exceptions) });
  }

  #wanted(wanted: Partial<WantedLeg>): WantedLeg {
    this.#version += 1;
    return {
      version: this.#version,
      canSubscribe: true,
      canPublishData: true,
      publications: [],
      subscriptions: [],
      ...wanted,
    };
  }
}

export function publicationsOf(golden: string, changes: Partial<WantedPublication> = {}): WantedPublication[] {
  const { wishes } = JSON.parse(readGolden(`${golden}.offer.json`)) as { wishes: Wish[] };
  return wishes
    .filter((wish) => wish.codec.cid !== '')
    .map((wish, index) => ({
      trackSid: `TR_${golden}${index}` as TrackSid,
      kind: wish.kind,
      codecs: [wish.codec],
      muted: false,
      stereo: wish.stereo,
      disableDtx: wish.disableDtx,
      encrypted: false,
      ...changes,
    }));
}

export function subscriptionTo(
  publication: ActualPublication,
  publisher: LegId,
  changes: Partial<WantedSubscription> = {},
): WantedSubscription {
  const publisherSid = participantOfLeg(publisher);
  return {
    trackSid: publication.trackSid,
    publisherSid,
    streamId: `${publisherSid}|${publication.trackSid}`,
    kind: publication.mimeType.startsWith('audio') ? 'audio' : 'video',
    producerId: publication.producerId,
    home: publication.home,
    paused: false,
    quality: 2,
    maxFps: 0,
    priority: 0,
    ...changes,
  };
}

export function sectionOf(sdp: string, mid: string): Section {
  const section = parseDescription(sdp, answerLimits).sections.find((entry) => entry.mid === mid);
  assert.ok(section !== undefined, `no section ${mid}`);
  return section;
}
