/** The ICE and DTLS side of descriptions: what the remote states, and what Plenum states of itself. */
import type { IceCredentials, Section, SessionDescription, Setup } from './description.ts';
import { missingTransport, notBundled } from './errors.ts';
import type { DtlsFingerprint, DtlsRole, IceCandidate, LocalTransport } from './rtp.ts';

export type RemoteTransport = {
  ice: IceCredentials;
  fingerprints: DtlsFingerprint[];
  /** The role of the remote end, as mediasoup's `connect({ dtlsParameters })` wants it. */
  dtlsRole: Exclude<DtlsRole, 'auto'>;
};

/**
 * The one transport that all sections of a remote description share, taken from the BUNDLE tag.
 *
 * @throws PlenumError `sdp-missing-ice`, `sdp-missing-dtls`, or `sdp-not-bundled` when more than one transport is meant.
 */
export function readRemoteTransport(description: SessionDescription): RemoteTransport {
  // Sections of other media are answered with port 0 and so need no transport.
  const live = description.sections.filter((section) => !section.rejected && section.kind !== 'other');
  const bundled = new Set(description.bundle);
  const outside = live.length > 1 ? live.find((section) => !bundled.has(section.mid)) : undefined;
  if (outside !== undefined) {
    throw notBundled(outside.mid);
  }
  const tagged = taggedSection(description, live);
  const ice = tagged?.ice;
  if (tagged === undefined || ice === undefined) {
    throw missingTransport('ice');
  }
  if (tagged.fingerprints.length === 0) {
    throw missingTransport('dtls');
  }
  return { ice, fingerprints: tagged.fingerprints, dtlsRole: remoteRole(tagged.setup) };
}

/** RFC 9143 section 7.2: the first live section of the group speaks for all; bundle-only ones have no transport of their own. */
function taggedSection(description: SessionDescription, live: Section[]): Section | undefined {
  const byMid = new Map(live.map((section) => [section.mid, section]));
  const grouped = description.bundle.map((mid) => byMid.get(mid)).filter((section) => section !== undefined);
  const candidates = grouped.length > 0 ? grouped : live;
  return candidates.find((section) => section.ice !== undefined) ?? candidates[0];
}

/** Plenum takes the server's part wherever the remote leaves the choice, since browsers answer `active` themselves. */
function remoteRole(setup: Setup | undefined): 'client' | 'server' {
  return setup === 'passive' ? 'server' : 'client';
}

/** The setup value for an answer to an offer with this one (RFC 8842 section 5.3: an answer never says actpass). */
export function answerSetup(offered: Setup | undefined): Setup {
  return offered === 'passive' ? 'active' : 'passive';
}

/**
 * Writes the local transport into the live sections of a description. Candidates stand in the first of them only: the
 * others are bundled with it, and clients read candidates from the BUNDLE tag (RFC 9429 section 5.2.2).
 */
export function stateTransport(sections: Section[], transport: LocalTransport, setup: Setup): void {
  let first = true;
  for (const section of sections) {
    if (section.rejected) {
      continue;
    }
    section.ice = { usernameFragment: transport.ice.usernameFragment, password: transport.ice.password };
    section.fingerprints = [transport.fingerprint];
    section.setup = setup;
    if (first) {
      section.candidates = transport.candidates.map(formatCandidate);
      section.endOfCandidates = true;
      first = false;
    }
  }
}

/** The value of `a=candidate` (RFC 8839 section 5.1, RFC 6544 for TCP). */
function formatCandidate(candidate: IceCandidate): string {
  const { foundation, protocol, priority, address, port, type, tcpType } = candidate;
  const base = `${foundation} 1 ${protocol} ${priority} ${address} ${port} typ ${type}`;
  return protocol === 'tcp' ? `${base} tcptype ${tcpType ?? 'passive'}` : base;
}
