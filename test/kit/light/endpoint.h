/*
 * Light endpoint: many WebRTC peer connections in one thread, without codecs.
 * Shared types; what each part does stands at the top of its .c file.
 */
#pragma once

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <srtp2/srtp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TICK_US 10000
#define MAX_DATAGRAM 2048
#define MAX_CANDIDATES 8
#define MAX_CHANNELS 8
#define MAX_ARRIVALS 512
#define MAX_MESSAGE (512 * 1024)
#define MAX_MISSING 128
#define MAX_TRACES 16

/* ---- command lines (wire.c) ---- */

#define MAX_FIELDS 32

typedef struct {
  const char *verb;
  uint32_t peer;
  int count;
  const char *keys[MAX_FIELDS];
  char *values[MAX_FIELDS];
} command;

bool parse_command(char *line, command *out);
/* Value of a key, or "" when it is absent. */
const char *field(const command *c, const char *key);
long number(const command *c, const char *key, long otherwise);
/* Copies a value, cut to the size. */
void text_field(const command *c, const char *key, char *out, size_t size);

/* Appends one event line to the output buffer; a line feed is added. */
void event(const char *format, ...) __attribute__((format(printf, 1, 2)));
void event_data(uint32_t peer, uint16_t stream, uint32_t ppid, const uint8_t *data, size_t size);
/* Decodes in place (the result is never longer); returns the size, or -1. */
long decode_base64(char *text);
/* True when everything is written; false when the reader has to catch up first. */
bool flush_events(void);

/* ---- what is told of all peers together (totals.c) ---- */

#define HISTOGRAM_STEPS 16
#define HISTOGRAM_OCTAVES 30

/* Microseconds; a bucket is at most a sixteenth of its value wide. */
typedef struct {
  uint64_t count, sum, max;
  uint32_t buckets[HISTOGRAM_OCTAVES * HISTOGRAM_STEPS];
} histogram;

void histogram_add(histogram *h, uint64_t us);

typedef struct {
  histogram media_delay, data_delay, repair;
  uint64_t nacks, plis;
} totals;

extern totals all;

/* ---- one incoming RTP stream (receive.c) ---- */

/* A packet that did not come in its turn and was asked for again (repair.c). */
typedef struct {
  uint16_t seq;
  uint8_t tries;
  uint64_t noticed_us, next_us;
} missing_packet;

typedef enum { STREAM_AUDIO, STREAM_VIDEO, STREAM_PADDING } stream_kind;

typedef struct stream_in {
  struct stream_in *next;
  uint32_t ssrc;
  stream_kind kind;
  bool vp8;
  bool started;
  bool nack;
  uint32_t repairs_ssrc; /* of an RTX stream: the media that it repairs */
  missing_packet *missing;
  int missing_count;
  uint64_t recovered, given_up, size_changes;
  uint64_t packets_before; /* the last reset of the totals */
  uint32_t base_seq, max_seq; /* extended by the count of wraps */
  uint64_t seen;              /* bit n: max_seq - n was received */
  uint64_t packets, bytes, duplicates, late, restarts;
  uint32_t received; /* distinct ones since base_seq */
  uint64_t lost_before; /* up to the last restart of the source */
  uint64_t first_us, last_us, run_us, max_gap_us;
  uint64_t continues_us; /* last packet of the stream that it replaces */
  uint32_t timestamp;
  uint32_t expected_prior, received_prior;
  uint32_t sr_middle;
  uint64_t sr_us;
  uint32_t key_frames, undecryptable;
  uint16_t width, height;
  uint64_t delay_samples, delay_sum_us, delay_max_us;
  bool watched, watch_key;
  uint64_t watch_us;
  uint32_t watch_token;
} stream_in;

/* ---- one outgoing RTP stream (publish.c) ---- */

typedef struct stream_out {
  struct stream_out *next;
  uint32_t ssrc;
  bool video, paused, key_wanted, temporal;
  uint8_t payload_type, mid_ext, rid_ext, level_ext, tcc_ext, level;
  char mid[17], rid[17];
  uint16_t seq, picture_id, width, height;
  uint8_t tl0, pattern_at; /* of three temporal layers */
  uint32_t timestamp, interval_us, frame_bytes, average_bytes;
  int trace; /* index + 1; 0 = every frame has `frame_bytes` */
  uint32_t trace_at;
  uint64_t next_us, frame_us;
  uint32_t packets, octets, key_frames, key_requests;
} stream_out;

/* ---- one peer connection ---- */

typedef enum { ICE_NEW, ICE_CHECKING, ICE_CONNECTED, ICE_DISCONNECTED, ICE_FAILED } ice_state;

typedef struct {
  uint16_t seq;
  uint64_t us;
} arrival;

typedef struct outgoing_message {
  struct outgoing_message *next;
  uint16_t stream;
  uint32_t ppid;
  bool unordered;
  int max_retransmits; /* -1 = reliable */
  size_t size;
  uint8_t data[];
} outgoing_message;

/* Messages that the endpoint sends by itself at a rate (data.c). */
typedef struct flood {
  struct flood *next;
  uint16_t stream;
  bool unordered;
  int max_retransmits;
  long stamp_at, sequence_at;
  uint64_t next_us, interval_us, sent;
  size_t size;
  uint8_t data[];
} flood;

typedef struct peer {
  struct peer *next_in_bucket, *next, *previous;
  uint32_t id;
  int fd;
  bool count_data, data_paused;

  char ufrag[64], password[128], remote_ufrag[64], remote_password[128];
  struct sockaddr_in candidates[MAX_CANDIDATES];
  int candidate_count;
  struct sockaddr_in remote; /* the selected one */
  ice_state ice;
  uint8_t check_tag[8];
  uint32_t check_count;
  uint64_t check_started_us, next_check_us, heard_us;
  uint32_t check_interval_us;

  SSL *ssl;
  bool dtls_client, dtls_up, dtls_gone;
  bool dtls_outdated; /* the description names another certificate */
  const uint8_t *dtls_in;
  size_t dtls_in_size;
  char remote_fingerprint[128];
  srtp_t srtp_in, srtp_out;

  bool sctp_wanted;
  struct socket *sctp;
  bool sctp_up;
  uint16_t sctp_port;
  outgoing_message *queue, **queue_tail;
  size_t queued_bytes;
  uint64_t data_messages, data_bytes;
  uint32_t sample; /* decrypt one packet of so many; 0 = whatever shows key frames */
  flood *floods;
  uint32_t flood_sequence; /* runs on from one flood to the next, as a sender counts its reliable packets */

  stream_in *in;
  stream_out *out;
  uint64_t unknown_packets;
  uint64_t next_rtcp_us, next_tcc_us;
  uint8_t tcc_ext, tcc_count, remote_tcc_ext;
  uint16_t tcc_out_seq;
  arrival arrivals[MAX_ARRIVALS];
  int arrival_count;
  bool tcc_started;
  uint16_t tcc_next;
} peer;

uint64_t now_us(void);
void send_datagram(peer *p, const struct sockaddr_in *to, const void *data, size_t size);
void random_bytes(void *out, size_t size);

static inline uint16_t get16(const uint8_t *b) { return (uint16_t)(b[0] << 8 | b[1]); }
static inline uint32_t get32(const uint8_t *b) { return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]; }
static inline void put16(uint8_t *b, uint32_t v) { b[0] = (uint8_t)(v >> 8); b[1] = (uint8_t)v; }
static inline void put24(uint8_t *b, uint32_t v) { b[0] = (uint8_t)(v >> 16); put16(b + 1, v); }
static inline void put32(uint8_t *b, uint32_t v) { put16(b, v >> 16); put16(b + 2, v); }
static inline void put64(uint8_t *b, uint64_t v) { put32(b, (uint32_t)(v >> 32)); put32(b + 4, (uint32_t)v); }

/* ice.c */
void ice_set_remote(peer *p, const command *c, uint64_t now);
void ice_input(peer *p, const struct sockaddr_in *from, uint8_t *data, size_t size, uint64_t now);
void ice_tick(peer *p, uint64_t now);

/* dtls.c */
void dtls_init(const char *srtp_profiles);
const char *dtls_fingerprint(void);
void dtls_start(peer *p);
void dtls_expect(peer *p, const char *fingerprint);
void dtls_input(peer *p, const uint8_t *data, size_t size);
void dtls_tick(peer *p);
void dtls_send(peer *p, const void *data, size_t size);
void dtls_free(peer *p, bool say_goodbye);

/* receive.c */
stream_in *find_stream_in(peer *p, uint32_t ssrc);
void receive_command(peer *p, const command *c);
void receive_stop(peer *p, uint32_t ssrc);
void rtp_input(peer *p, uint8_t *data, size_t size, uint64_t now);
void watch_command(peer *p, const command *c, uint64_t now);
void stats_command(peer *p, const command *c, uint64_t now);
void receive_free(peer *p);

/* repair.c */
void repair_gap(stream_in *s, uint16_t first, int count, uint64_t now);
void repair_arrived(peer *p, stream_in *s, uint16_t seq, uint64_t now);
void repair_tick(peer *p, uint64_t now);
void rtx_input(peer *p, stream_in *rtx, const uint8_t *data, size_t size, uint64_t now);

/* totals.c */
void totals_command(const command *c);
peer *first_peer(void);

/* rtcp.c */
void send_rtcp(peer *p, uint8_t *packet, size_t size);
void send_nack(peer *p, uint32_t ssrc, const uint16_t *sequences, int count);
void rtcp_input(peer *p, uint8_t *data, size_t size, uint64_t now);
void rtcp_tick(peer *p, uint64_t now);
void request_key_frame(peer *p, uint32_t ssrc);
void note_arrival(peer *p, uint16_t seq, uint64_t now);

/* publish.c */
stream_out *find_stream_out(peer *p, uint32_t ssrc);
void publish_command(peer *p, const command *c, uint64_t now);
void publish_set(peer *p, const command *c);
void publish_stop(peer *p, uint32_t ssrc);
void publish_tick(peer *p, uint64_t now);
void publish_free(peer *p);
void trace_command(const command *c);

/* data.c */
void data_init(void);
void data_start(peer *p);
void data_input(peer *p, const void *data, size_t size);
void data_resume(peer *p);
void data_break(peer *p);
void data_tick(uint32_t elapsed_ms);
void data_drain(peer *p);
void flood_command(peer *p, const command *c, uint64_t now);
void flood_tick(peer *p, uint64_t now);
void channel_command(peer *p, const command *c);
void send_command(peer *p, const command *c);
void data_free(peer *p);
peer *find_peer(uint32_t id);
