/*
 * Data channels: SCTP by usrsctp over DTLS, and the in-band channel protocol (RFC 8831, RFC 8832). usrsctp runs without
 * threads: its timers are driven by the tick, its input and output happen within our calls. It knows a peer by its number
 * only, so a late callback for a peer that is gone finds nothing and is harmless.
 */
#define _GNU_SOURCE
#include "endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <usrsctp.h>

#define MAX_STREAMS 32
#define SOCKET_BYTES (1024 * 1024)
#define QUEUE_LIMIT (64u * 1024 * 1024)
#define PATH_MTU 1170

enum { PPID_CONTROL = 50 };
enum { CONTROL_ACK = 2, CONTROL_OPEN = 3 };

static void *address_of(const peer *p) { return (void *)(uintptr_t)p->id; }

static int output(void *address, void *data, size_t size, uint8_t tos, uint8_t set_df) {
  (void)tos, (void)set_df;
  peer *p = find_peer((uint32_t)(uintptr_t)address);
  if (p) dtls_send(p, data, size);
  return 0;
}

void data_init(void) {
  usrsctp_init_nothreads(0, output, NULL);
  usrsctp_sysctl_set_sctp_ecn_enable(0);
  usrsctp_sysctl_set_sctp_asconf_enable(0);
  usrsctp_sysctl_set_sctp_auto_asconf(0);
  usrsctp_sysctl_set_sctp_sendspace(SOCKET_BYTES);
  usrsctp_sysctl_set_sctp_recvspace(SOCKET_BYTES);
}

static void set_options(struct socket *socket) {
  struct linger linger = {1, 0}; /* Closing aborts at once: a test does not wait for the other side. */
  struct sctp_initmsg streams = {.sinit_num_ostreams = MAX_STREAMS, .sinit_max_instreams = MAX_STREAMS};
  uint32_t on = 1;
  uint16_t events[] = {SCTP_ASSOC_CHANGE};
  usrsctp_set_non_blocking(socket, 1);
  usrsctp_setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof on);
  usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_RECVRCVINFO, &on, sizeof on);
  usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_INITMSG, &streams, sizeof streams);
  struct sctp_event wanted = {.se_assoc_id = SCTP_ALL_ASSOC, .se_on = 1};
  for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
    wanted.se_type = events[i];
    usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_EVENT, &wanted, sizeof wanted);
  }
  struct sctp_assoc_value reset = {.assoc_id = SCTP_ALL_ASSOC, .assoc_value = SCTP_ENABLE_RESET_STREAM_REQ};
  usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_ENABLE_STREAM_RESET, &reset, sizeof reset);
}

void data_start(peer *p) {
  if (p->sctp || !p->dtls_up) return;
  usrsctp_register_address(address_of(p));
  p->sctp = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
  if (!p->sctp) return;
  set_options(p->sctp);
  struct sockaddr_conn address = {.sconn_family = AF_CONN, .sconn_port = htons(p->sctp_port), .sconn_addr = address_of(p)};
  struct sctp_paddrparams path = {.spp_flags = SPP_PMTUD_DISABLE, .spp_pathmtu = PATH_MTU};
  memcpy(&path.spp_address, &address, sizeof address);
  bool failed = usrsctp_bind(p->sctp, (struct sockaddr *)&address, sizeof address) < 0 ||
                (usrsctp_connect(p->sctp, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS);
  if (failed) event("problem %u what=sctp-connect errno=%d", p->id, errno);
  usrsctp_setsockopt(p->sctp, IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &path, sizeof path);
}

static bool try_send(peer *p, const outgoing_message *message) {
  struct sctp_sendv_spa how = {.sendv_flags = SCTP_SEND_SNDINFO_VALID};
  how.sendv_sndinfo.snd_sid = message->stream;
  how.sendv_sndinfo.snd_ppid = htonl(message->ppid);
  how.sendv_sndinfo.snd_flags = (uint16_t)(SCTP_EOR | (message->unordered ? SCTP_UNORDERED : 0));
  if (message->max_retransmits >= 0) {
    how.sendv_flags |= SCTP_SEND_PRINFO_VALID;
    how.sendv_prinfo.pr_policy = SCTP_PR_SCTP_RTX;
    how.sendv_prinfo.pr_value = (uint32_t)message->max_retransmits;
  }
  ssize_t sent = usrsctp_sendv(p->sctp, message->data, message->size, NULL, 0, &how, sizeof how, SCTP_SENDV_SPA, 0);
  if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) {
    event("problem %u what=sctp-send errno=%d", p->id, errno);
    return true;
  }
  return sent >= 0;
}

void data_drain(peer *p) {
  while (p->queue && p->sctp_up && try_send(p, p->queue)) {
    outgoing_message *done = p->queue;
    p->queue = done->next;
    if (!p->queue) p->queue_tail = &p->queue;
    p->queued_bytes -= done->size;
    free(done);
  }
}

static void enqueue(peer *p, uint16_t stream, uint32_t ppid, bool unordered, int max_retransmits, const void *data, size_t size) {
  outgoing_message *message = malloc(sizeof *message + size);
  if (!message || p->queued_bytes + size > QUEUE_LIMIT) {
    event("problem %u what=data-queue-full", p->id);
    free(message);
    return;
  }
  *message = (outgoing_message){.stream = stream, .ppid = ppid, .unordered = unordered, .max_retransmits = max_retransmits, .size = size};
  memcpy(message->data, data, size);
  *p->queue_tail = message;
  p->queue_tail = &message->next;
  p->queued_bytes += size;
  data_drain(p);
}

void channel_command(peer *p, const command *c) {
  uint8_t open[12 + 64] = {CONTROL_OPEN};
  const char *label = field(c, "label");
  size_t length = strlen(label);
  if (length > 64) return;
  bool unordered = number(c, "unordered", 0);
  long retransmits = number(c, "max_retransmits", -1);
  open[1] = (uint8_t)((unordered ? 0x80 : 0) | (retransmits >= 0 ? 1 : 0));
  put16(open + 2, 256);
  put32(open + 4, retransmits >= 0 ? (uint32_t)retransmits : 0);
  put16(open + 8, (uint32_t)length);
  memcpy(open + 12, label, length);
  p->sctp_wanted = true;
  if (p->dtls_up) data_start(p);
  enqueue(p, (uint16_t)number(c, "stream", 0), PPID_CONTROL, false, -1, open, 12 + length);
}

void send_command(peer *p, const command *c) {
  char *data = (char *)field(c, "data");
  long size = decode_base64(data);
  if (size <= 0) {
    event("problem %u what=bad-data", p->id);
    return;
  }
  enqueue(p, (uint16_t)number(c, "stream", 0), (uint32_t)number(c, "ppid", 53), number(c, "unordered", 0),
          (int)number(c, "max_retransmits", -1), data, (size_t)size);
}

/* A stamp of our own publishers in a message that is only counted. */
static void sample_delay(const uint8_t *message, size_t size, uint64_t now) {
  const uint8_t *mark = size >= 12 ? memmem(message, size - 8, "PLNM", 4) : NULL;
  if (!mark) return;
  uint64_t sent = (uint64_t)get32(mark + 4) << 32 | get32(mark + 8);
  histogram_add(&all.data_delay, now > sent ? now - sent : 0);
}

/* The bytes at `stamp_at` become mark and time, those at `sequence_at` a varint of five bytes. */
static void stamp(peer *p, flood *f, uint64_t now) {
  if (f->stamp_at >= 0) {
    memcpy(f->data + f->stamp_at, "PLNM", 4);
    put64(f->data + f->stamp_at + 4, now);
  }
  if (f->sequence_at < 0) return;
  uint32_t rest = ++p->flood_sequence;
  for (int i = 0; i < 5; i++, rest >>= 7) f->data[f->sequence_at + i] = (uint8_t)((rest & 127) | (i < 4 ? 128 : 0));
}

void flood_tick(peer *p, uint64_t now) {
  for (flood *f = p->floods; f; f = f->next) {
    if (!p->sctp_up) f->next_us = now;
    for (; p->sctp_up && f->next_us <= now; f->next_us += f->interval_us) {
      stamp(p, f, now);
      enqueue(p, f->stream, 53, f->unordered, f->max_retransmits, f->data, f->size);
      f->sent++;
    }
  }
}

void flood_command(peer *p, const command *c, uint64_t now) {
  uint16_t stream = (uint16_t)number(c, "stream", 0);
  for (flood **at = &p->floods; *at; at = &(*at)->next) {
    if ((*at)->stream != stream) continue;
    flood *gone = *at;
    event("flooded %u stream=%u sent=%llu", p->id, stream, (unsigned long long)gone->sent);
    *at = gone->next;
    free(gone);
    break;
  }
  long per_s = number(c, "per_s", 0), stamp_at = number(c, "stamp_at", -1), sequence_at = number(c, "sequence_at", -1);
  char *data = (char *)field(c, "data");
  if (per_s <= 0) return;
  long size = decode_base64(data);
  if (size <= 0 || stamp_at + 12 > size || sequence_at + 5 > size) {
    event("problem %u what=bad-data", p->id);
    return;
  }
  flood *f = calloc(1, sizeof *f + (size_t)size);
  f->stream = stream;
  f->unordered = number(c, "unordered", 0);
  f->max_retransmits = (int)number(c, "max_retransmits", -1);
  f->stamp_at = stamp_at;
  f->sequence_at = sequence_at;
  f->interval_us = (uint64_t)(1000000 / per_s);
  f->next_us = now;
  f->size = (size_t)size;
  memcpy(f->data, data, (size_t)size);
  f->next = p->floods;
  p->floods = f;
}

static void control_message(peer *p, uint16_t stream, const uint8_t *data, size_t size) {
  if (data[0] == CONTROL_ACK) {
    event("channel-acked %u stream=%u", p->id, stream);
    return;
  }
  if (data[0] != CONTROL_OPEN || size < 12 || 12u + get16(data + 8) > size) return;
  char label[65] = {0};
  size_t length = get16(data + 8);
  memcpy(label, data + 12, length > 64 ? 64 : length);
  for (char *at = label; *at; at++)
    if (*at <= ' ') *at = '?';
  event("channel %u stream=%u type=%u reliability=%u label=%s", p->id, stream, data[1], get32(data + 4), label);
  uint8_t ack = CONTROL_ACK;
  enqueue(p, stream, PPID_CONTROL, false, -1, &ack, 1);
}

static void notification(peer *p, const union sctp_notification *what) {
  if (what->sn_header.sn_type != SCTP_ASSOC_CHANGE) return;
  uint16_t state = what->sn_assoc_change.sac_state;
  if (state == SCTP_COMM_UP) {
    p->sctp_up = true;
    event("sctp %u state=connected", p->id);
  } else if (state == SCTP_COMM_LOST || state == SCTP_SHUTDOWN_COMP || state == SCTP_CANT_STR_ASSOC) {
    p->sctp_up = false;
    event("sctp %u state=closed", p->id);
  }
}

static void read_messages(peer *p) {
  static uint8_t message[MAX_MESSAGE];
  while (!p->data_paused) {
    struct sctp_rcvinfo info;
    socklen_t info_size = sizeof info, from_size = 0;
    unsigned info_type = 0;
    int flags = 0;
    memset(&info, 0, sizeof info);
    ssize_t size = usrsctp_recvv(p->sctp, message, sizeof message, NULL, &from_size, &info, &info_size, &info_type, &flags);
    if (size <= 0) break;
    if (flags & MSG_NOTIFICATION) {
      notification(p, (const union sctp_notification *)message);
      continue;
    }
    uint32_t ppid = ntohl(info.rcv_ppid);
    if (!(flags & MSG_EOR)) event("problem %u what=partial-message size=%zd", p->id, size);
    if (ppid == PPID_CONTROL) {
      control_message(p, info.rcv_sid, message, (size_t)size);
      continue;
    }
    p->data_messages++;
    p->data_bytes += (uint64_t)size;
    if (p->count_data) sample_delay(message, (size_t)size, now_us());
    else event_data(p->id, info.rcv_sid, ppid, message, (size_t)size);
  }
}

void data_input(peer *p, const void *data, size_t size) {
  if (!p->sctp && p->sctp_wanted) data_start(p);
  if (!p->sctp) return;
  usrsctp_conninput(address_of(p), data, size, 0);
  read_messages(p);
  data_drain(p);
}

void data_resume(peer *p) {
  if (p->sctp) read_messages(p);
}

/* The association is gone; what waits in the queue goes out on the next one. */
void data_break(peer *p) {
  if (!p->sctp) return;
  usrsctp_close(p->sctp);
  usrsctp_deregister_address(address_of(p));
  p->sctp = NULL;
  p->sctp_up = false;
}

void data_tick(uint32_t elapsed_ms) { usrsctp_handle_timers(elapsed_ms); }

void data_free(peer *p) {
  data_break(p);
  while (p->floods) {
    flood *gone = p->floods;
    p->floods = gone->next;
    free(gone);
  }
  while (p->queue) {
    outgoing_message *gone = p->queue;
    p->queue = gone->next;
    free(gone);
  }
}
