import { availableParallelism, networkInterfaces } from 'node:os';
import type { Config } from '../config/options.ts';
import type { MediaSettings } from './media-types.ts';

/** Turns options into settings; looks at the machine's interfaces and cores where an option leaves the choice open. */
export function mediaSettings(config: Config): MediaSettings {
  const listenAddress = config.rtc.bind_address || config.bind_addresses[0] || '0.0.0.0';
  const ports = config.rtc.port_range_end - config.rtc.port_range_start + 1;
  return {
    // Each takes a port of its own: an installation that opened one port gets one worker.
    workers: config.rtc.workers || Math.min(availableParallelism(), ports),
    listenAddress,
    announcedAddresses: config.rtc.node_ip.length > 0 ? config.rtc.node_ip : reachableAddresses(listenAddress),
    portRangeStart: config.rtc.port_range_start,
    portRangeEnd: config.rtc.port_range_end,
    enableUdp: config.rtc.enable_udp,
    enableTcp: config.rtc.enable_tcp,
    iceConsentTimeoutSeconds: config.rtc.ice_disconnected_timeout,
    initialBitrateBps: config.rtc.initial_bitrate_bps,
    loudestAudio: { forwarded: config.audio.loudest_forwarded, from: config.audio.loudest_from },
    alwaysEstimatesBandwidth: config.rtc.bandwidth_estimation === 'always',
    reliableQueueBytes: config.rtc.reliable_queue_bytes,
    pipes: {
      address: config.rtc.pipe_address || (isAnyAddress(listenAddress) ? '127.0.0.1' : listenAddress),
      portRangeStart: config.rtc.pipe_port_range_start,
      portRangeEnd: config.rtc.pipe_port_range_end,
    },
  };
}

function isAnyAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** Every IPv4 address of the machine when bound to all, external ones first; the bound address otherwise. */
function reachableAddresses(listenAddress: string): string[] {
  if (listenAddress !== '0.0.0.0') {
    return [listenAddress];
  }
  const addresses = Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter((entry) => entry.family === 'IPv4');
  const external = addresses.filter((entry) => !entry.internal).map((entry) => entry.address);
  return external.length > 0 ? external : ['127.0.0.1'];
}
