/**
 * What a configuration of livekit-server may say that Plenum does not have under this name: options that are called
 * otherwise here, and options that do not apply. Whatever is in neither table nor in `options.ts` is unknown.
 */
import { routerCodecs } from '../sdp/capabilities.ts';

export type Tree = Record<string, unknown>;

/** Ours by the name of LiveKit; the value may need another form. */
const renamed: Record<string, { name: string; convert?: (value: unknown) => unknown }> = {
  log_level: { name: 'logging.level' },
  'prometheus.port': { name: 'prometheus_port' },
  'redis.tls.enabled': { name: 'redis.use_tls' },
  'room.max_metadata_size': { name: 'limit.max_metadata_size' },
  'room.max_room_name_length': { name: 'limit.max_room_name_length' },
  'room.max_participant_identity_length': { name: 'limit.max_participant_identity_length' },
  'limit.num_tracks': { name: 'node_limit.tracks', convert: (value) => atLeastZero(value, 1) },
  'limit.bytes_per_sec': { name: 'node_limit.bitrate_bps', convert: (value) => atLeastZero(value, 8) },
  'node_selector.cpu_load_limit': { name: 'node_limit.cpu' },
  'turn.allow_restricted_peer_cidrs': { name: 'turn.allow_peer_cidrs' },
};

/** Options that do not apply here, with all below them. docs/coming-from-livekit.md says why. */
const inapplicable: ReadonlySet<string> = new Set([
  // What OpenVidu adds: its engine, its analytics.
  'openvidu',
  'environment',
  'debug_handler',
  'enable_participant_data_blob',
  'node_selector',
  'signal_relay',
  'psrpc',
  'api',
  'ingress',
  'sip',
  'agents',
  'metric',
  'node_stats',
  'trace',
  'rtc.tcp_port',
  'rtc.udp_port',
  'rtc.use_ice_lite',
  'rtc.interfaces',
  'rtc.ips',
  'rtc.use_mdns',
  'rtc.enable_loopback_candidate',
  'rtc.use_stun_port_as_ice',
  'rtc.additional_host_ips',
  'rtc.require_ipv4',
  'rtc.skip_external_ip_validation',
  'rtc.advertise_internal_ip',
  'rtc.external_ip_only',
  'rtc.batch_io',
  'rtc.sctp_min_cwnd',
  'rtc.sctp_fast_rtx_wnd',
  'rtc.sctp_cwnd_ca_step',
  'rtc.host_acceptance_min_wait',
  'rtc.srflx_acceptance_min_wait',
  'rtc.prflx_acceptance_min_wait',
  'rtc.relay_acceptance_min_wait',
  'rtc.ice_prflx_acceptance_wait',
  'rtc.ice_srflx_acceptance_wait',
  'rtc.ice_relay_acceptance_wait',
  'rtc.strict_acks',
  'rtc.packet_buffer_size',
  'rtc.packet_buffer_size_video',
  'rtc.packet_buffer_size_audio',
  'rtc.pli_throttle',
  'rtc.congestion_control.enabled',
  'rtc.congestion_control.probe_mode',
  'rtc.congestion_control.min_channel_capacity',
  'rtc.congestion_control.stream_allocator',
  'rtc.congestion_control.remote_bwe',
  'rtc.congestion_control.use_send_side_bwe',
  'rtc.congestion_control.use_send_side_bwe_interceptor',
  'rtc.congestion_control.send_side_bwe',
  'rtc.congestion_control.send_side_bwe_pacer',
  'rtc.allow_tcp_fallback',
  'rtc.tcp_fallback_rtt_threshold',
  'rtc.allow_udp_unstable_fallback',
  'rtc.reconnect_on_publication_error',
  'rtc.reconnect_on_subscription_error',
  'rtc.reconnect_on_data_channel_error',
  'rtc.data_channel_max_buffered_amount',
  'rtc.datachannel_slow_threshold',
  'rtc.datachannel_lossy_target_latency',
  'rtc.forward_stats',
  'rtc.enable_rtp_stream_restart_detection',
  'redis.cluster_addresses',
  'redis.dial_timeout',
  'redis.read_timeout',
  'redis.write_timeout',
  'redis.max_redirects',
  'redis.pool_timeout',
  'redis.pool_size',
  'redis.tls.insecure',
  'audio.active_red_encoding',
  'video.codec_regression_threshold',
  'video.stream_tracker',
  'video.stream_tracker_manager',
  'room.playout_delay',
  'room.create_room_enabled',
  'room.create_room_timeout',
  'room.create_room_attempts',
  'room.user_data_expiration',
  'room.participant_disconnect_timeout',
  'room.room_configurations',
  'turn.cert_file',
  'turn.key_file',
  'turn.deny_peer_cidrs',
  'turn.bind_addresses',
  'limit.subscription_limit_video',
  'limit.subscription_limit_audio',
  'logging.pion_level',
  'logging.sample',
  'logging.component_levels',
  'logging.item_sample_seconds',
  'logging.item_sample_initial',
  'logging.item_sample_interval',
]);

/** Options of ours whose values LiveKit writes in another form. */
const rewritten: Record<string, (value: unknown) => unknown> = {
  'video.dynacast_pause_delay': toSeconds,
  'logging.level': (value) => (value === 'warning' ? 'warn' : value),
  // What LiveKit's own generator writes for "all addresses".
  bind_addresses: (value) =>
    Array.isArray(value) ? value.map((address) => (address === '' ? '0.0.0.0' : address)) : value,
};

export type Translated = {
  /** With names of ours alone, and unknown ones. */
  tree: Tree;
  /** Options that do not apply here, as the file names them. */
  notApplied: string[];
};

/** From a tree of options as livekit-server takes them, Plenum's own among them, to one of ours. */
export function translateOptions(source: Tree): Translated {
  const tree = withoutEmpty(source);
  translatePorts(tree);
  const notApplied = dropCodecs(tree);
  for (const [name, { name: ours, convert }] of Object.entries(renamed)) {
    const value = take(tree, name);
    // A value under our own name is the more deliberate one.
    if (value !== undefined && find(tree, ours) === undefined) {
      put(tree, ours, convert === undefined ? value : convert(value));
    }
  }
  for (const name of inapplicable) {
    if (take(tree, name) !== undefined) {
      notApplied.push(name);
    }
  }
  for (const [name, rewrite] of Object.entries(rewritten)) {
    const value = find(tree, name);
    if (value !== undefined) {
      put(tree, name, rewrite(value));
    }
  }
  return { tree, notApplied };
}

/** A copy without what was left empty, such as a section all of whose lines are comments: that is as good as not given. */
function withoutEmpty(tree: Tree): Tree {
  const given = Object.entries(tree).filter(([, value]) => value !== null);
  return Object.fromEntries(given.map(([key, value]) => [key, isTree(value) ? withoutEmpty(value) : value]));
}

/** Names of options that are LiveKit's alone, for environment variables and flags made of them. */
export function livekitOptionNames(): string[] {
  return [...Object.keys(renamed), ...inapplicable, 'rtc.force_tcp'];
}

/** As in LiveKit, a range of ports wins over a single one. */
function translatePorts(tree: Tree): void {
  const udpPort = find(tree, 'rtc.udp_port');
  const text = typeof udpPort === 'number' || typeof udpPort === 'string' ? `${udpPort}`.trim() : '';
  const [first, last] = /^(\d+)(?:\s*-\s*(\d+))?$/.exec(text)?.slice(1) ?? [];
  if (first !== undefined && find(tree, 'rtc.port_range_start') === undefined) {
    take(tree, 'rtc.udp_port');
    put(tree, 'rtc.port_range_start', Number(first));
    put(tree, 'rtc.port_range_end', Number(last ?? first));
  }
  // 0 means no ICE over TCP. Any other port does not apply: media ports take both.
  if (find(tree, 'rtc.tcp_port') === 0) {
    take(tree, 'rtc.tcp_port');
    put(tree, 'rtc.enable_tcp', false);
  }
  if (take(tree, 'rtc.force_tcp') === true) {
    put(tree, 'rtc.enable_udp', false);
  }
}

/** Retransmission comes with each video codec; others that the engine does not forward are left out by name. */
function dropCodecs(tree: Tree): string[] {
  const codecs = find(tree, 'room.enabled_codecs');
  if (!Array.isArray(codecs)) {
    return [];
  }
  const mimeOf = (codec: unknown): string => (isTree(codec) ? String(codec['mime']).toLowerCase() : '');
  const isKnown = (codec: unknown): boolean => !isTree(codec) || routerCodecs([mimeOf(codec)]).length > 0;
  put(tree, 'room.enabled_codecs', codecs.filter(isKnown));
  return codecs
    .filter((codec) => !isKnown(codec) && mimeOf(codec) !== 'video/rtx')
    .map((codec) => `room.enabled_codecs ${mimeOf(codec)}`);
}

/** @param factor of our unit to LiveKit's; a negative value switches a limit off, which is 0 here */
function atLeastZero(value: unknown, factor: number): unknown {
  // YAML 1.2 takes `1_000_000` for text, Go's YAML for a number.
  const number = typeof value === 'string' && /^-?\d[\d_]*$/.test(value) ? Number(value.replaceAll('_', '')) : value;
  return typeof number === 'number' ? Math.max(0, Math.round(number * factor)) : value;
}

const secondsPerUnit: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3_600 };

/** Go's durations (`1m30s`) in seconds; anything else stays as it is. */
function toSeconds(value: unknown): unknown {
  if (typeof value !== 'string' || !/^(?:[\d.]+(?:ns|us|µs|ms|s|m|h))+$/.test(value)) {
    return value;
  }
  const parts = [...value.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)];
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (secondsPerUnit[unit ?? ''] ?? Number.NaN), 0);
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function find(tree: Tree, name: string): unknown {
  return name.split('.').reduce<unknown>((value, key) => (isTree(value) ? value[key] : undefined), tree);
}

export function put(tree: Tree, name: string, value: unknown): void {
  const path = name.split('.');
  const last = path.pop() ?? '';
  let parent = tree;
  for (const key of path) {
    const next = parent[key];
    const child = isTree(next) ? next : {};
    parent[key] = child;
    parent = child;
  }
  parent[last] = value;
}

/** Removes an option, and the maps that are empty without it. @returns its value */
function take(tree: Tree, name: string): unknown {
  const [key = '', ...rest] = name.split('.');
  const value = tree[key];
  if (rest.length === 0) {
    delete tree[key];
    return value;
  }
  if (!isTree(value)) {
    return undefined;
  }
  const taken = take(value, rest.join('.'));
  if (taken !== undefined && Object.keys(value).length === 0) {
    delete tree[key];
  }
  return taken;
}
