/** What Plenum makes of a recorded offer: the plans, and the text of its answer, for golden files and tests. */
// oxlint-disable-next-line no-restricted-imports -- the router's capabilities without a worker
import { generateRouterRtpCapabilities } from 'mediasoup/ortc';
import type * as types from 'mediasoup/types';
import { formatPublisherAnswer } from '../../src/sdp/answer.ts';
import { routerCodecs } from '../../src/sdp/capabilities.ts';
import { matchSections } from '../../src/sdp/match.ts';
import { parseDescription } from '../../src/sdp/parse.ts';
import {
  type AcceptedSection,
  type PublicationPlan,
  type PublicationRefusal,
  planPublication,
} from '../../src/sdp/publish.ts';
import type { LocalTransport, RtpCapabilities } from '../../src/sdp/rtp.ts';
import type { GoldenOffer } from './golden.ts';

export const allMimes = ['audio/opus', 'video/VP8', 'video/H264', 'video/VP9', 'video/AV1'];

/** The capabilities that a router with all codecs has; mediasoup computes them without a worker. */
export function routerCapabilities(): RtpCapabilities {
  const codecs = routerCodecs(allMimes) as types.RouterRtpCodecCapability[];
  return generateRouterRtpCapabilities(codecs) as RtpCapabilities;
}

export const localTransport: LocalTransport = {
  ice: { usernameFragment: 'localufrag', password: 'localpasswordlocalpassword' },
  candidates: [
    {
      foundation: 'udpcandidate',
      priority: 1076302079,
      address: '192.0.2.10',
      protocol: 'udp',
      port: 50_000,
      type: 'host',
    },
    {
      foundation: 'tcpcandidate',
      priority: 1076276479,
      address: '192.0.2.10',
      protocol: 'tcp',
      port: 50_000,
      type: 'host',
      tcpType: 'passive',
    },
    {
      foundation: 'udpcandidate6',
      priority: 1076302078,
      address: '2001:db8::10',
      protocol: 'udp',
      port: 50_000,
      type: 'host',
    },
  ],
  fingerprint: {
    algorithm: 'sha-256',
    value: Array.from({ length: 32 }, (_, index) => index.toString(16).toUpperCase().padStart(2, '0')).join(':'),
  },
  sctpPort: 5000,
  maxMessageSize: 262_144,
};

export type ExpectedPublication = {
  mid: string;
  cid: string;
  sdpCid: string;
  plan: PublicationPlan | PublicationRefusal;
};

/**
 * Answers one recorded offer as if it were the first on its connection. Sections that a recording shows at rest have no
 * memory then, which is the harder case.
 */
export function answerGolden(golden: Pick<GoldenOffer, 'sdp' | 'wishes'>): {
  publications: ExpectedPublication[];
  answer: string;
} {
  const offer = parseDescription(golden.sdp);
  const router = routerCapabilities();
  const accepted = new Map<string, AcceptedSection>();
  const publications: ExpectedPublication[] = [];
  const matches = matchSections({ sections: offer.sections, wishes: golden.wishes, bound: new Map() });
  for (const { section, wish, sdpCid } of matches) {
    const plan = planPublication({ section, wish, router });
    publications.push({ mid: section.mid, cid: wish.cid, sdpCid, plan });
    if (plan.kind === 'plan') {
      accepted.set(section.mid, plan.accepted);
    }
  }
  const answer = formatPublisherAnswer({
    offer,
    transport: localTransport,
    accepted,
    remembered: new Map(),
    sessionId: '7000000000000000001',
    version: 1,
  });
  return { publications, answer };
}

export function formatPublications(publications: ExpectedPublication[]): string {
  return `${JSON.stringify(publications, undefined, 2)}\n`;
}
