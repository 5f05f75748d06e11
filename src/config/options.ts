/**
 * The one table of options: name, type, default and text. Names are LiveKit's where the meaning is the same, and stay
 * as they are in the YAML file all the way through the code, so that one name is found everywhere.
 */
import { isIP, isIPv4 } from 'node:net';
import { z } from 'zod';
import { redis } from './redis-options.ts';

const port = z.int().min(0).max(65_535);
const seconds = z.number().min(0);
/** What LiveKit's protocol tells clients as `uint32`. */
const uint32 = z.int().min(0).max(4_294_967_295);
const bytes = z.int().min(0);

/** 0 = no limit, so that whoever compares with it needs no exception. */
const sizeLimit = z
  .int()
  .min(0)
  .transform((limit) => limit || Number.MAX_SAFE_INTEGER);

/** An address, or a network such as `10.0.0.0/8`. */
const network = z.string().refine(
  (text) => {
    const [address = '', prefix, ...rest] = text.split('/');
    const bits = isIP(address) === 4 ? 32 : 128;
    const isPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
    return isIP(address) !== 0 && isPrefix && rest.length === 0;
  },
  { error: 'must be an address or a network such as 10.0.0.0/8' },
);

/** A list of addresses, or text with commas between them. */
const addresses = z.union([
  z.array(z.string().min(1)),
  z.string().transform((text) => text.split(',').flatMap((address) => address.trim() || [])),
]);

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
  use_external_ip: z
    .boolean()
    .default(false)
    .describe(
      'Ask `rtc.stun_servers` (else public ones) at the start how this machine is seen from the internet, and announce that address; without effect beside `rtc.node_ip`.',
    ),
  bind_address: z
    .string()
    .default('')
    .describe('Address that media sockets bind to; empty = the first of `bind_addresses`.'),
  enable_tcp: z.boolean().default(true).describe('Offer ICE over TCP on the media ports.'),
  enable_udp: z.boolean().default(true).describe('Offer UDP on the media ports.'),
  turn_servers: z.array(turnServer).default([]).describe('TURN servers handed to clients.'),
  force_relay: z
    .boolean()
    .default(false)
    .describe('Tell clients to send media through TURN alone, over TLS where there is a certificate.'),
  stun_servers: z.array(z.string()).default([]).describe('STUN servers (`host:port`) handed to clients.'),
  initial_bitrate_bps: z
    .int()
    .min(100_000)
    .default(3_000_000)
    .describe('Where bandwidth estimation of a subscriber starts.'),
  bandwidth_estimation: z
    .enum(['adaptable', 'always'])
    .default('adaptable')
    .describe(
      'Whose path is measured: of subscribers that receive something with layers to choose from, or of all that receive video. It takes about a third of the CPU time of a forwarded packet.',
    ),
  reliable_queue_bytes: bytes
    .default(16_000_000)
    .describe('Reliable data that may wait for one subscriber before it is closed with STATE_MISMATCH.'),
  single_peer_connection: z
    .boolean()
    .default(false)
    .describe(
      'Serve `/rtc/v1`, on which newer clients send and receive on one connection instead of two; without it they fall back to `/rtc` by themselves.',
    ),
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

const tls = z.strictObject({
  mode: z
    .enum(['off', 'letsencrypt', 'owncert', 'selfsigned'])
    .default('off')
    .describe(
      'Where the certificate comes from. `letsencrypt` orders one from an ACME authority, `owncert` takes `tls.certificate` and `tls.key`, `selfsigned` makes one that browsers warn about. `off` serves plain HTTP alone.',
    ),
  domain: z.string().default('').describe('Public name of the site.'),
  names: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'More names or addresses for the certificate; those of `tls.domain` and `turn.domain` are in it anyway. Addresses alone get a certificate without any domain.',
    ),
  port: port.default(443).describe('HTTPS port, where TURN over TLS arrives too.'),
  http_port: port
    .default(80)
    .describe('HTTP port that answers ACME challenges and sends everything else to HTTPS; 0 = none.'),
  proxy_protocol: z
    .boolean()
    .default(false)
    .describe('Take the PROXY protocol (1 and 2) on `tls.port` from `trusted_proxies`.'),
  certificate: z
    .string()
    .default('')
    .describe(
      'Mode `owncert`: certificate chain in PEM, leaf first, as text, as base64 of it, as a file (looked at again every 10 s) or as a URL (fetched once and kept).',
    ),
  key: z.string().default('').describe('Mode `owncert`: its private key, given in the same ways.'),
  state_dir: z
    .string()
    .min(1)
    .default('/var/lib/plenum')
    .describe('Folder in which a node keeps its certificate; in a cluster a sealed copy for starts without Redis.'),
  hsts_max_age: z
    .int()
    .min(0)
    .default(15_552_000)
    .describe(
      'Seconds for which browsers are told to use HTTPS alone (HSTS), with certificates that are not self-signed; 0 = they are not told.',
    ),
  acme: z
    .strictObject({
      directory_url: z
        .string()
        .default('')
        .describe("Another authority than Let's Encrypt; its own certificate is trusted by `NODE_EXTRA_CA_CERTS`."),
      staging: z
        .boolean()
        .default(false)
        .describe(
          "Let's Encrypt's staging environment: for trials, with generous limits and certificates that nobody trusts.",
        ),
      email: z.string().default('').describe('Where the authority sends warnings; empty = nowhere.'),
      profile: z
        .string()
        .default('')
        .describe(
          'Certificate profile; empty = `shortlived` when an address is certified, else what the authority prefers.',
        ),
    })
    .prefault({})
    .describe('Mode `letsencrypt`.'),
});

const turn = z.strictObject({
  enabled: z.boolean().default(false).describe('Run a TURN server (coturn) beside the media workers.'),
  domain: z
    .string()
    .default('')
    .describe('Name of TURN over TLS; empty = `tls.domain`, where both share one port and tell each other apart.'),
  external_tls: z
    .boolean()
    .default(false)
    .describe(
      '`turn.domain` leads to a load balancer of its own that passes port 443 on to `turn.tls_port` of the media nodes, so that relayed media does not cross the masters. With `tls.mode` off, TLS ends there and what it passes on is plain TCP.',
    ),
  address: z
    .string()
    .refine((text) => text === '' || isIPv4(text), { error: 'must be an IPv4 address: nothing else is relayed' })
    .default('')
    .describe('IPv4 address of this machine that TURN listens on and relays from; empty = that of the media.'),
  udp_port: port.default(443).describe('Port of TURN over UDP.'),
  tls_port: port.default(5349).describe('Port of TURN over TLS on the media nodes; masters lead TLS clients there.'),
  relay_range_start: port.default(40_000).describe('First port that media is relayed from.'),
  relay_range_end: port.default(49_999).describe('Last port that media is relayed from.'),
  ttl_seconds: z
    .int()
    .min(10)
    .default(300)
    .describe('For how long credentials of a participant may open a relay; one that is open goes on.'),
  per_user_relay_allocation_limit: z
    .int()
    .min(1)
    .default(12)
    .describe('Relays that one participant may have at a time.'),
  allow_peer_cidrs: z
    .array(network.refine((text) => !text.includes(':'), { error: 'must be IPv4' }))
    .default([])
    .describe(
      'IPv4 networks that may be relayed to besides the media nodes, which are always allowed. Everything else is refused.',
    ),
  program: z.string().min(1).default('turnserver').describe('The coturn program.'),
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
  max_metadata_size: sizeLimit.prefault(512 * 1024).describe('Bytes of room or participant metadata; 0 = no limit.'),
  max_attributes_size: sizeLimit
    .prefault(64 * 1024)
    .describe('Bytes of all attribute keys and values of a participant; 0 = no limit.'),
  max_room_name_length: sizeLimit.prefault(256).describe('Characters of a room name; 0 = no limit.'),
  max_participant_identity_length: sizeLimit.prefault(256).describe('Characters of an identity; 0 = no limit.'),
  max_participant_name_length: sizeLimit.prefault(256).describe('Characters of a display name; 0 = no limit.'),
  signal_message_size_limit: bytes.default(2 * 1024 * 1024).describe('Bytes of one message from a client.'),
  max_api_request_body_size: bytes.default(10 * 1024 * 1024).describe('Bytes of one API request.'),
  max_connections: z
    .int()
    .min(1)
    .default(20_000)
    .describe('Open sockets, half-open ones included; further ones get 503.'),
  connections_per_address: z
    .int()
    .min(0)
    .default(1_000)
    .describe('Open connections of one client address (of one /64 with IPv6); 0 = no limit.'),
  connection_rate_per_address: z
    .int()
    .min(0)
    .default(100)
    .describe(
      'New connections per second of one client address, with `connections_per_address` at once after a rest; 0 = no limit.',
    ),
  request_rate_per_address: z
    .int()
    .min(0)
    .default(200)
    .describe(
      'Requests without a token per second of one client address, ten times as many at once after a rest; further ones get 429. 0 = no limit.',
    ),
  bad_token_rate_per_address: z
    .int()
    .min(0)
    .default(5)
    .describe(
      'Requests with an invalid token per second of one client address, ten times as many at once after a rest; further ones get 429. Valid tokens are never limited. 0 = no limit.',
    ),
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
  loudest_forwarded: z
    .int()
    .min(0)
    .max(100)
    .default(0)
    .describe(
      'Microphones of a large room that are forwarded at a time: those that are loudest at the moment; 0 = always all, as LiveKit does.',
    ),
  loudest_from: z
    .int()
    .min(1)
    .default(25)
    .describe('Microphones in a room (on one media worker, open or not) from which on `loudest_forwarded` counts.'),
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
  machine_id: z
    .string()
    .default('')
    .describe('Name of this machine, on which several nodes may run; empty = its host name.'),
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

const share = z.number().min(0).max(1);

const nodeLimit = z.strictObject({
  cores: z
    .number()
    .min(0)
    .default(0)
    .describe('Cores that the node may count on, for machines that it shares with others; 0 = all of the machine.'),
  cpu: share.default(0.85).describe('Share of all cores, 0 to 1.'),
  worker_cpu: share.default(0.85).describe('Share of the core of a media worker, 0 to 1.'),
  bitrate_bps: z.int().min(0).default(0).describe('Bits per second forwarded in both directions.'),
  tracks: z.int().min(0).default(0).describe('Published and forwarded tracks.'),
  rooms: z.int().min(0).default(0).describe('Rooms that the node hosts.'),
  participants: z.int().min(0).default(0).describe('Participants whose media the node carries.'),
  event_loop_lag: z.number().min(0).default(200).describe('Milliseconds by which timers are late.'),
});

const capacity = z.strictObject({
  provider: z
    .enum(['none', 'static', 'azure'])
    .default('none')
    .describe(
      'Where machines of media nodes come from. `azure`: masters add and delete instances of a scale set; `static`: people do, masters watch and tidy up after lost nodes; `none`: nobody looks after them.',
    ),
  min: z.int().min(1).max(1_000).default(1).describe('Media nodes that always serve.'),
  max: z.int().min(1).max(1_000).default(5).describe('Media nodes that serve at most.'),
  target_cpu: z
    .number()
    .min(0.05)
    .max(1)
    .default(0.5)
    .describe('Share of the cores of media nodes, 0 to 1, that scaling keeps to.'),
  target_bitrate_bps: z
    .int()
    .min(0)
    .default(0)
    .describe('Bits per second per media node that scaling keeps to as well; 0 = they do not count.'),
  target_tracks: z
    .int()
    .min(0)
    .default(0)
    .describe('Tracks per media node that scaling keeps to as well; 0 = they do not count.'),
  drain_policy: z
    .enum(['migrate', 'wait'])
    .default('migrate')
    .describe('How a surplus media node is emptied: `migrate` moves its calls, `wait` lets them end by themselves.'),
  drain_deadline: seconds
    .default(600)
    .describe('With `migrate`: seconds after which clients that could not be moved are told to reconnect; 0 = none.'),
  max_drains: z.int().min(1).max(100).default(2).describe('Media nodes that are emptied at a time.'),
  scale_out_after: seconds
    .default(15)
    .describe('Seconds for which more media nodes must have been needed before one is added.'),
  scale_in_after: seconds
    .default(300)
    .describe('Seconds for which fewer media nodes must have been enough before one is taken away.'),
});

const azure = z.strictObject({
  subscription_id: z.string().default('').describe('Subscription of the deployment.'),
  resource_group: z.string().default('').describe('Resource group of the deployment.'),
  scale_set: z.string().default('').describe('Flexible scale set of the media nodes.'),
  client_id: z.string().default('').describe('Client id of the identity that this machine has.'),
  arm_endpoint: z.string().default('https://management.azure.com/').describe('Control plane of the cloud.'),
  metadata_url: z.string().default('http://169.254.169.254').describe('Metadata service of this machine.'),
  machine_name: z.string().default('').describe('What Azure calls this machine.'),
  scheduled_events: z
    .boolean()
    .default(false)
    .describe('Media nodes: empty this node when Azure says that it is about to stop, restart or move its machine.'),
});

export const configSchema = z.strictObject({
  port: port.default(7880).describe('HTTP and WebSocket port.'),
  bind_addresses: z.array(z.string()).default(['0.0.0.0']).describe('Addresses that the HTTP port listens on.'),
  trusted_proxies: z
    .array(network)
    .default(['127.0.0.0/8', '::1/128'])
    .describe(
      'Addresses and networks of proxies and load balancers. Only they are believed about who a client is (`X-Forwarded-For`, `X-Real-IP`, `CF-Connecting-IP`, PROXY protocol), and the limits per address do not hold for them.',
    ),
  keys: z.record(z.string(), z.string()).default({}).describe('API keys and their secrets.'),
  region: z.string().default('').describe('Region of this node, told to clients.'),
  zone: z.string().default('').describe('Availability zone of this node within its region.'),
  prometheus_port: port.default(0).describe('Port of the metrics endpoint; 0 = none.'),
  prometheus: z
    .strictObject({
      username: z
        .string()
        .default('')
        .describe('User that scrapers of the metrics must name; empty = none is asked for.'),
      password: z.string().default('').describe('Password of that user.'),
    })
    .prefault({})
    .describe('Who may read the metrics.'),
  development: z.boolean().default(false).describe('Development mode: known keys, readable logs.'),
  rtc: rtc.prefault({}).describe('Media transport.'),
  tls: tls.prefault({}).describe('HTTPS and certificates.'),
  turn: turn.prefault({}).describe('Relay for clients behind firewalls.'),
  room: room.prefault({}).describe('Room defaults.'),
  enable_data_tracks: z.boolean().default(true).describe('Let participants publish data tracks.'),
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
  capacity: capacity.prefault({}).describe('How many media nodes a cluster has.'),
  azure: azure.prefault({}).describe('What a node on Azure needs to know.'),
  drain: drain.prefault({}).describe('How a node is taken out of service.'),
  redis: redis.prefault({}).describe('Where the nodes of a cluster keep what they share.'),
});

export type Config = z.infer<typeof configSchema>;
