/** H.264 profiles as SDP states them (RFC 6184 section 8.1): which offered format a router's codec can take. */
import type { CodecParameters } from './description.ts';

/** What `profile-level-id` means when it is absent; libwebrtc and mediasoup agree on it against the RFC. */
const defaultProfile = 'constrained-baseline';

/**
 * True when both describe the same profile and packetization mode; levels may differ, since each side states its own.
 * mediasoup compares the same way and refuses the producer otherwise.
 */
export function isSameH264(left: CodecParameters, right: CodecParameters): boolean {
  const profile = profileOf(left);
  return profile !== undefined && profile === profileOf(right) && modeOf(left) === modeOf(right);
}

function modeOf(parameters: CodecParameters): number {
  return Number(parameters['packetization-mode'] ?? 0);
}

/** The profile behind profile_idc and profile_iop, whose `x` bits do not matter (RFC 6184 table 5). */
function profileOf(parameters: CodecParameters): string | undefined {
  const text = parameters['profile-level-id'];
  if (text === undefined) {
    return defaultProfile;
  }
  const match = /^([0-9a-f]{2})([0-9a-f]{2})[0-9a-f]{2}$/i.exec(String(text));
  if (match === null) {
    return undefined;
  }
  const constraints = Number.parseInt(match[2] ?? '', 16);
  const set = (mask: number, value: number): boolean => (constraints & mask) === value;
  switch (match[1]?.toLowerCase()) {
    case '42':
      return set(0x4f, 0x40) ? 'constrained-baseline' : set(0x4f, 0x00) ? 'baseline' : undefined;
    case '58':
      return set(0xcf, 0xc0) ? 'constrained-baseline' : set(0xcf, 0x80) ? 'baseline' : undefined;
    case '4d':
      return set(0x8f, 0x80) ? 'constrained-baseline' : set(0xaf, 0x00) ? 'main' : undefined;
    case '64':
      return constraints === 0x00 ? 'high' : constraints === 0x0c ? 'constrained-high' : undefined;
    default:
      return undefined;
  }
}
