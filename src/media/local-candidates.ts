import type { IceCandidate } from '../sdp/rtp.ts';

export type LocalCandidatesOptions = { addresses: readonly string[]; port: number; udp: boolean; tcp: boolean };

const hostTypePreference = 126;

/**
 * Host candidates for every announced address on the worker's one port. The engine knows one announced address per
 * socket only, but it answers connectivity checks whatever address they were sent to, so more addresses are just more lines.
 */
export function localCandidates(options: LocalCandidatesOptions): IceCandidate[] {
  const candidates: IceCandidate[] = [];
  options.addresses.forEach((address, index) => {
    if (options.udp) {
      candidates.push({
        ...common(address, options.port, 65_535 - index * 256),
        foundation: `udp${index}`,
        protocol: 'udp',
      });
    }
  });
  options.addresses.forEach((address, index) => {
    if (options.tcp) {
      // RFC 6544 section 4.2: direction preference 4 (of host candidates, passive) in the top three bits, below any UDP.
      const localPreference = (4 << 13) + 8191 - index;
      candidates.push({
        ...common(address, options.port, localPreference),
        foundation: `tcp${index}`,
        protocol: 'tcp',
        tcpType: 'passive',
      });
    }
  });
  return candidates;
}

/** RFC 8445 section 5.1.2.1, component 1. */
function common(
  address: string,
  port: number,
  localPreference: number,
): Pick<IceCandidate, 'address' | 'port' | 'priority' | 'type'> {
  return { address, port, type: 'host', priority: hostTypePreference * 2 ** 24 + localPreference * 2 ** 8 + 255 };
}
