/** From the configuration to what rooms work with. */
import type { Config } from '../config/options.ts';
import { turnCredentials, turnServers, type TurnAccess } from '../turn/turn-access.ts';
import type { NodeId, ParticipantSid } from '../protocol/ids.ts';
import type { IceServer, RoomSettings } from '../room/settings.ts';

export type RoomSettingsOptions = {
  config: Config;
  nodeId: NodeId;
  /** Unix milliseconds: TURN credentials end at a time of day. */
  now: () => number;
  /** Plenum's own TURN servers; undefined without. */
  turn?: (() => TurnAccess) | undefined;
  /** In a cluster; see `RoomSettings`. */
  givesKeepsakes?: boolean;
};

export function toRoomSettings(options: RoomSettingsOptions): RoomSettings {
  const { config } = options;
  return {
    nodeId: options.nodeId,
    region: config.region,
    enabledCodecs: config.room.enabled_codecs.map((codec) => ({ mime: codec.mime, fmtpLine: codec.fmtp_line })),
    emptyTimeoutS: config.room.empty_timeout,
    departureTimeoutS: config.room.departure_timeout,
    maxParticipants: config.room.max_participants,
    syncStreams: config.room.sync_streams,
    enableRemoteUnmute: config.room.enable_remote_unmute,
    fullRoomInWebhooks: config.room.enable_full_room_in_webhooks,
    resumeTimeoutMs: config.rtc.resume_timeout * 1000,
    maxMetadataBytes: config.limit.max_metadata_size,
    maxAttributesBytes: config.limit.max_attributes_size,
    maxNameLength: config.limit.max_participant_name_length,
    maxTracksPerParticipant: config.limit.max_tracks_per_participant,
    activeLevelDbov: config.audio.active_level,
    minPercentile: config.audio.min_percentile,
    speakerIntervalMs: config.audio.update_interval,
    enableDataTracks: config.enable_data_tracks,
    smoothIntervals: config.audio.smooth_intervals,
    dynacastPauseDelayMs: config.video.dynacast_pause_delay * 1000,
    givesKeepsakes: options.givesKeepsakes ?? false,
    allowPause: config.rtc.congestion_control.allow_pause,
    forceRelay: config.rtc.force_relay,
    iceServersOf: (participant) => iceServersOf(options, participant),
  };
}

function iceServersOf({ config, turn, now }: RoomSettingsOptions, participant: ParticipantSid): IceServer[] {
  const stun = config.rtc.stun_servers.map((server) => `stun:${server}`);
  const nowMs = now();
  return [
    ...(stun.length === 0 ? [] : [{ urls: stun, username: '', credential: '' }]),
    ...(turn === undefined ? [] : turnServers(turn(), participant, nowMs)),
    ...config.rtc.turn_servers.map((server) => toIceServer(server, participant, nowMs)),
  ];
}

type TurnServer = Config['rtc']['turn_servers'][number];

function toIceServer(server: TurnServer, participant: ParticipantSid, nowMs: number): IceServer {
  const scheme = server.protocol === 'tls' ? 'turns' : 'turn';
  const transport = server.protocol === 'udp' ? 'udp' : 'tcp';
  const urls = [`${scheme}:${server.host}:${server.port}?transport=${transport}`];
  const { secret, ttl: ttlS, username, credential } = server;
  return secret === ''
    ? { urls, username, credential }
    : { urls, ...turnCredentials(secret, { participant, ttlS, nowMs }) };
}
