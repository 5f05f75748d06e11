/**
 * The one table of options: name, type, default and text. Names are LiveKit's where the meaning is the same, and stay
 * as they are in the YAML file all the way through the code, so that one name is found everywhere.
 */
import { z } from 'zod';

const port = z.int().min(0).max(65_535);
const seconds = z.number().min(0);
/** What LiveKit's protocol tells clients as `uint32`. */
const uint32 = z.int().min(0).max(4_294_967_295);
const bytes = z.int().min(0);

/** One address or a list of them. */
const addresses = z.union([z.array(z.string().min(1)), z.string().transform((address) => [address])]);

const turnServer = z.strictObject({
  host: z.string().min(1).describe('Host name or address of the TURN server.'),
  port: port.describe('Port of the TURN server.'),
  protocol: z
    .enum(['udp', 'tcp', 'tls'])
    .default('udp')
    .describe('How clients reach it; `tls` becomes a `turns:` URL.'),
  username: z.string().default('').describe('Static user name; leave empty when `secret` is used.'),
  credential: z.string().default('').describe('Static password; leave empty when `secret` is used.'),
  secret: z.string().default('').describe('Shared secret for time-limited credentials (coturn `use-auth-secret`).'),
  ttl: seconds.default(14_400).describe('Life of time-limited credentials in seconds.'),
});

const rtc = z.strictObject({
  port_range_start: port.default(50_000).describe('First media port. Each worker takes one number, for UDP and TCP.'),
  port_range_end: port.default(59_999).describe('Last media port.'),
  workers: z.int().min(0).max(256).default(0).describe('Media workers (one thread each); 0 = one per CPU core.'),
  node_ip: addresses
    .prefault([])
    .describe(
      'Addresses announced to clients for media; empty = the bound address, or those of the network interfaces when bound to all.',
    ),
  bind_address: z
    .string()
    .default('')
    .describe('Address that media sockets bind to; empty = the first of `bind_addresses`.'),
  enable_tcp: z.boolean().default(true).describe('Offer ICE over TCP on the media ports.'),
  enable_udp: z.boolean().default(true).describe('Offer UDP on the media ports.'),
  turn_servers: z.array(turnServer).default([]).describe('TURN servers handed to clients.'),
  stun_servers: z.array(z.string()).default([]).describe('STUN servers (`host:port`) handed to clients.'),
  initial_bitrate_bps: z
    .int()
    .min(100_000)
    .default(3_000_000)
    .describe('Where bandwidth estimation of a subscriber starts.'),
  reliable_queue_bytes: bytes
    .default(16_000_000)
    .describe('Reliable data that may wait for one subscriber before it is closed with STATE_MISMATCH.'),
  negotiation_timeout: seconds.default(15).describe('Seconds a client has to answer an offer.'),
  ice_disconnected_timeout: seconds
    .default(10)
    .describe('Seconds without ICE consent before a connection counts as lost.'),
  pipe_address: z
    .string()
    .default('')
    .describe(
      'Address on which this node receives media from other nodes, reachable for them only; empty = the media address, or loopback when that is all addresses.',
    ),
  pipe_port_range_start: port
    .default(20_000)
    .describe(
      'First port for media between workers and nodes. Each pair of workers that shares a room takes one on either side.',
    ),
  pipe_port_range_end: port.default(29_999).describe('Last port for media between workers and nodes.'),
  pipe_linger: seconds
    .default(15)
    .describe('Seconds a track that nobody takes any more stays available on another worker or node.'),
  max_viewers_per_worker: z
    .int()
    .min(1)
    .default(150)
    .describe(
      'Participants of one room on one media worker; further ones go to another worker, so that none of them sends one track too often.',
    ),
  resume_timeout: seconds.default(5).describe('Seconds a client whose media connection was lost has to resume.'),
});

const room = z.strictObject({
  auto_create: z.boolean().default(true).describe('Create a room when the first participant joins it.'),
  empty_timeout: uint32.default(300).describe('Seconds a room stays open before anybody joined.'),
  departure_timeout: uint32.default(20).describe('Seconds a room stays open after the last participant left.'),
  max_participants: uint32.default(0).describe('Participants per room; 0 = no limit.'),
  enabled_codecs: z
    .array(
      z.strictObject({
        mime: z.string().describe('MIME type such as `video/VP8`.'),
        fmtp_line: z.string().default('').describe('Format parameters.'),
      }),
    )
    .default([
      { mime: 'audio/opus', fmtp_line: '' },
      { mime: 'video/VP8', fmtp_line: '' },
      { mime: 'video/H264', fmtp_line: '' },
      { mime: 'video/VP9', fmtp_line: '' },
      { mime: 'video/AV1', fmtp_line: '' },
    ])
    .describe('Codecs that participants may publish with.'),
  max_legs_per_node: uint32
    .default(0)
    .describe(
      'In a cluster: participants of one room that a media node takes before further ones go to the next node. When all have as many, they share the rest. 0 = any number.',
    ),
  enable_remote_unmute: z.boolean().default(false).describe('Let the server API unmute tracks.'),
  enable_full_room_in_webhooks: z
    .boolean()
    .default(false)
    .describe('Send the whole room with track webhooks, not only sid and name.'),
});

const limit = z.strictObject({
  max_metadata_size: bytes.default(512 * 1024).describe('Bytes of room or participant metadata.'),
  max_attributes_size: bytes.default(64 * 1024).describe('Bytes of all attribute keys and values of a participant.'),
  max_room_name_length: z.int().min(1).default(256).describe('Characters of a room name.'),
  max_participant_identity_length: z.int().min(1).default(256).describe('Characters of an identity.'),
  max_participant_name_length: z.int().min(1).default(256).describe('Characters of a display name.'),
  signal_message_size_limit: bytes.default(2 * 1024 * 1024).describe('Bytes of one message from a client.'),
  max_api_request_body_size: bytes.default(10 * 1024 * 1024).describe('Bytes of one API request.'),
  max_connections: z
    .int()
    .min(1)
    .default(20_000)
    .describe('Open sockets, half-open ones included; further ones get 503.'),
  max_pending_joins: z.int().min(1).default(2_000).describe('Joins under way; further ones get 503.'),
  signal_queue_bytes: bytes
    .default(4 * 1024 * 1024)
    .describe('Bytes that may wait for a slow signal socket before it is closed.'),
  max_tracks_per_participant: z
    .int()
    .min(1)
    .default(100)
    .describe('Tracks that one participant may publish at a time.'),
});

const audio = z.strictObject({
  active_level: z
    .int()
    .min(1)
    .max(127)
    .default(35)
    .describe('Loudness that counts as speaking, in dB below full scale.'),
  min_percentile: z
    .int()
    .min(1)
    .max(100)
    .default(40)
    .describe('Share of the interval, in percent, that must be that loud.'),
  update_interval: z.int().min(100).default(400).describe('Milliseconds between speaker updates.'),
  smooth_intervals: z.int().min(0).default(2).describe('Intervals over which the level is smoothed.'),
});

const video = z.strictObject({
  dynacast_pause_delay: seconds.default(5).describe('Seconds before a layer that nobody watches is switched off.'),
});

const webhook = z.strictObject({
  api_key: z.string().default('').describe('API key that signs webhooks; required with `urls`.'),
  urls: z.array(z.url()).default([]).describe('Where webhooks are posted.'),
  filter_params: z
    .strictObject({
      include_events: z.array(z.string()).default([]).describe('Only these events; empty = all.'),
      exclude_events: z.array(z.string()).default([]).describe('All but these events.'),
    })
    .prefault({})
    .describe('Which events are sent.'),
});

const logging = z.strictObject({
  level: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('Least severe level that is logged.'),
  json: z.boolean().default(true).describe('One JSON object per line; false = readable text.'),
});

const meet = z.strictObject({
  enabled: z.boolean().default(true).describe('Serve the meeting page at `/meet/`.'),
  open: z
    .boolean()
    .default(false)
    .describe(
      'Let anyone who can open the meeting page join any room from it. Otherwise the page takes a link with a token (`plenum token create --link`).',
    ),
});

const cluster = z.strictObject({
  name: z.string().min(1).max(64).default('plenum').describe('Name of the cluster, the same on all its nodes.'),
  secret: z
    .string()
    .default('')
    .describe('Secret that the nodes of a cluster share, at least 16 characters; also `PLENUM_CLUSTER_SECRET`.'),
  previous_secrets: z
    .array(z.string())
    .max(3)
    .default([])
    .describe(
      'Secrets that nodes which were not restarted yet still use; also `PLENUM_CLUSTER_PREVIOUS_SECRETS`, separated by commas.',
    ),
  secret_file: z
    .string()
    .default('')
    .describe('File that holds the secret, read when `cluster.secret` is empty; further lines are previous secrets.'),
  relay_port: port.default(7890).describe('Port of the direct connections between nodes.'),
  relay_bind_addresses: z
    .array(z.string().min(1))
    .min(1)
    .default(['0.0.0.0'])
    .describe('Addresses that `cluster.relay_port` listens on.'),
  relay_address: z
    .string()
    .default('')
    .describe(
      'Address at which other nodes reach `cluster.relay_port`; empty = the first of `cluster.relay_bind_addresses`, or of this machine when that is all.',
    ),
  heartbeat_interval: z
    .number()
    .min(0.05)
    .max(60)
    .default(0.5)
    .describe('Seconds between signs of life on a connection between nodes.'),
  heartbeat_misses: z
    .int()
    .min(2)
    .max(100)
    .default(4)
    .describe('Signs of life in a row that a node may miss before it counts as dead.'),
  host_grace: seconds
    .default(60)
    .describe(
      "Seconds that the media of participants goes on while their room has no host; 0 = it ends with the host's node.",
    ),
});

const drain = z.strictObject({
  policy: z
    .enum(['migrate', 'wait'])
    .default('migrate')
    .describe(
      'How calls leave a media node that is stopped with SIGTERM, or drained without saying how: `migrate` moves them to other nodes, `wait` waits until they end.',
    ),
  deadline: z
    .number()
    .min(0)
    .max(604_800)
    .default(300)
    .describe(
      'Seconds a media node takes at most between SIGTERM and its end; with `wait`, calls that still go on are moved shortly before. 0 = it ends at once and its clients reconnect.',
    ),
  alone: z
    .boolean()
    .default(false)
    .describe(
      'Role `all`: after SIGTERM take no new rooms and wait for the last one to end, for `drain.deadline` at most.',
    ),
});

const redisTls = z.strictObject({
  ca_cert_file: z
    .string()
    .default('')
    .describe('PEM file of the authority that signed the certificates of Redis; empty = those of the system.'),
  client_cert_file: z.string().default('').describe('PEM file of a certificate of ours, where Redis asks for one.'),
  client_key_file: z.string().default('').describe('PEM file of its private key.'),
  server_name: z
    .string()
    .default('')
    .describe('Name that the certificates carry, when it is not the host; Sentinel names addresses.'),
});

const redis = z.strictObject({
  address: z
    .string()
    .default('')
    .describe(
      '`host:port` of a single Redis (7.0 or newer), or `redis://` and `rediss://` (TLS) with it; empty with Sentinel, and on a node that is alone.',
    ),
  username: z.string().default('').describe('Redis user; empty = the default one.'),
  password: z.string().default('').describe('Password of Redis; also `PLENUM_REDIS_PASSWORD`.'),
  password_file: z.string().default('').describe('File that holds the password, read when `redis.password` is empty.'),
  db: z.int().min(0).default(0).describe('Number of the Redis database.'),
  use_tls: z.boolean().default(false).describe('Reach Redis and Sentinel over TLS.'),
  tls: redisTls.prefault({}).describe('How TLS to Redis and Sentinel is checked.'),
  sentinel_master_name: z
    .string()
    .default('')
    .describe('Name under which Sentinel knows the master; set it to use Sentinel.'),
  sentinel_addresses: z.array(z.string().min(1)).default([]).describe('`host:port` of each Sentinel.'),
  sentinel_username: z.string().default('').describe('User at the Sentinels; empty = the default one.'),
  sentinel_password: z
    .string()
    .default('')
    .describe('Password at the Sentinels; also `PLENUM_REDIS_SENTINEL_PASSWORD`.'),
  sentinel_password_file: z
    .string()
    .default('')
    .describe('File that holds that password, read when `redis.sentinel_password` is empty.'),
  min_replicas: z
    .int()
    .min(0)
    .default(1)
    .describe('With Sentinel: replicas that must know who owns a room before anybody is told.'),
});

const share = z.number().min(0).max(1);

const nodeLimit = z.strictObject({
  cpu: share.default(0.85).describe('Share of all cores, 0 to 1.'),
  worker_cpu: share.default(0.85).describe('Share of the core of a media worker, 0 to 1.'),
  bitrate_bps: z.int().min(0).default(0).describe('Bits per second forwarded in both directions.'),
  tracks: z.int().min(0).default(0).describe('Published and forwarded tracks.'),
  rooms: z.int().min(0).default(0).describe('Rooms that the node hosts.'),
  participants: z.int().min(0).default(0).describe('Participants whose media the node carries.'),
  event_loop_lag: z.number().min(0).default(200).describe('Milliseconds by which timers are late.'),
});

export const configSchema = z.strictObject({
  port: port.default(7880).describe('HTTP and WebSocket port.'),
  bind_addresses: z.array(z.string()).default(['0.0.0.0']).describe('Addresses that the HTTP port listens on.'),
  keys: z.record(z.string(), z.string()).default({}).describe('API keys and their secrets.'),
  region: z.string().default('').describe('Region of this node, told to clients.'),
  zone: z.string().default('').describe('Availability zone of this node within its region.'),
  prometheus_port: port.default(0).describe('Port of the metrics endpoint; 0 = none.'),
  development: z.boolean().default(false).describe('Development mode: known keys, readable logs.'),
  rtc: rtc.prefault({}).describe('Media transport.'),
  room: room.prefault({}).describe('Room defaults.'),
  limit: limit.prefault({}).describe('Limits.'),
  audio: audio.prefault({}).describe('Speaker detection.'),
  video: video.prefault({}).describe('Video.'),
  webhook: webhook.prefault({}).describe('Webhooks.'),
  meet: meet.prefault({}).describe('Meeting page.'),
  logging: logging.prefault({}).describe('Logging.'),
  node_limit: nodeLimit
    .prefault({})
    .describe(
      'Where media nodes of a cluster stop taking new rooms and participants, who get 503 when no node is left; 0 = this is no limit.',
    ),
  cluster: cluster.prefault({}).describe('What nodes of a cluster need to find and trust each other.'),
  drain: drain.prefault({}).describe('How a node is taken out of service.'),
  redis: redis.prefault({}).describe('Where the nodes of a cluster keep what they share.'),
});

export type Config = z.infer<typeof configSchema>;
