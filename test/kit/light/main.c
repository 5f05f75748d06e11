/*
 * The loop: commands from stdin, datagrams of all peers, a tick of 10 ms while there are peers. One thread.
 *
 * Commands (`verb peer key=value …`), `ssrc` names a stream, `token` comes back in the answer:
 *   open      ufrag password dtls=client|server [bind] [bind_port] [sctp=0|1] [sctp_port] [count_data=0|1] [sample]
 *   remote    remote_ufrag remote_password candidates=ip:port,… [ufrag password] [fingerprint] [dtls]   (again = ICE
 *             restart; with another fingerprint also a new DTLS connection)
 *   receive   ssrc kind=audio|video|padding [codec=vp8] [tcc_ext] [nack=0|1] [repairs=ssrc] [continues=ssrc]
 *   receive-stop ssrc
 *   publish   ssrc kind pt [mid mid_ext rid rid_ext level_ext tcc_ext fps bps width height level payload_bytes paused
 *             temporal_layers=1|3 trace trace_from]
 *   publish-set ssrc [paused level fps bps]                            publish-stop ssrc
 *   watch     ssrc token [ms] [key=0|1]   answered by `watched` once `ms` of gapless packets (and a key frame) came
 *   stats     token [reset=0|1]           pli ssrc
 *   channel   stream label [unordered max_retransmits]
 *   send      stream data=base64 [ppid unordered max_retransmits]
 *   flood     stream data=base64 per_s [stamp_at sequence_at unordered max_retransmits]    per_s=0 ends it
 *   read      on=0|1                      stop or go on reading data, to play a reader that hangs
 *   close     [silent=0|1]                silent: no DTLS goodbye, as when a client dies
 *   trace     sizes=bytes,bytes,…         frame sizes for `publish`; the number in place of the peer names it, from 1
 *   totals    token [reset=0|1]           of all peers together; needs no peer
 *   usage     token                       of the process; needs no peer
 */
#define _GNU_SOURCE
#include "endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define BUCKETS 4096
#define SOCKET_BUFFER (512 * 1024)

static peer *buckets[BUCKETS];
static peer *peers;
static int peer_count;
static int poll_fd, tick_fd;
static int stdin_mark, tick_mark;
static uint64_t last_tick_us;

uint64_t now_us(void) {
  struct timespec clock;
  clock_gettime(CLOCK_MONOTONIC, &clock);
  return (uint64_t)clock.tv_sec * 1000000 + (uint64_t)clock.tv_nsec / 1000;
}

void random_bytes(void *out, size_t size) { RAND_bytes(out, (int)size); }

void send_datagram(peer *p, const struct sockaddr_in *to, const void *data, size_t size) {
  /* A full socket buffer loses the datagram, as a network would. */
  if (to->sin_port) (void)!sendto(p->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)to, sizeof *to);
}

peer *find_peer(uint32_t id) {
  for (peer *p = buckets[id % BUCKETS]; p; p = p->next_in_bucket)
    if (p->id == id) return p;
  return NULL;
}

peer *first_peer(void) { return peers; }

static void set_ticking(bool on) {
  struct itimerspec every = {{0, on ? TICK_US * 1000 : 0}, {0, on ? TICK_US * 1000 : 0}};
  timerfd_settime(tick_fd, 0, &every, NULL);
  last_tick_us = now_us();
}

static bool bind_socket(peer *p, const char *address, int port) {
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  socklen_t size = sizeof local;
  int buffer = SOCKET_BUFFER;
  if (*address && inet_pton(AF_INET, address, &local.sin_addr) != 1) return false;
  p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (p->fd < 0) return false;
  setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = p};
  if (bind(p->fd, (struct sockaddr *)&local, size) < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, p->fd, &wanted) < 0) {
    close(p->fd);
    return false;
  }
  getsockname(p->fd, (struct sockaddr *)&local, &size);
  event("opened %u port=%u", p->id, ntohs(local.sin_port));
  return true;
}

static void open_peer(const command *c) {
  peer *p = c->peer && !find_peer(c->peer) ? calloc(1, sizeof *p) : NULL;
  if (!p) {
    event("problem %u what=open", c->peer);
    return;
  }
  p->id = c->peer;
  text_field(c, "ufrag", p->ufrag, sizeof p->ufrag);
  text_field(c, "password", p->password, sizeof p->password);
  p->dtls_client = strcmp(field(c, "dtls"), "server") != 0;
  p->sctp_wanted = number(c, "sctp", 0);
  p->sctp_port = (uint16_t)number(c, "sctp_port", 5000);
  p->count_data = number(c, "count_data", 0);
  p->sample = (uint32_t)number(c, "sample", 0);
  p->queue_tail = &p->queue;
  if (!bind_socket(p, field(c, "bind"), atoi(field(c, "bind_port")))) {
    event("problem %u what=socket errno=%d", p->id, errno);
    free(p);
    return;
  }
  p->next_in_bucket = buckets[p->id % BUCKETS];
  buckets[p->id % BUCKETS] = p;
  p->next = peers;
  if (peers) peers->previous = p;
  peers = p;
  if (++peer_count == 1) set_ticking(true);
}

static void close_peer(peer *p, bool silent) {
  data_free(p);
  dtls_free(p, !silent);
  receive_free(p);
  publish_free(p);
  close(p->fd);
  peer **at = &buckets[p->id % BUCKETS];
  while (*at != p) at = &(*at)->next_in_bucket;
  *at = p->next_in_bucket;
  if (p->next) p->next->previous = p->previous;
  if (p->previous) p->previous->next = p->next;
  else peers = p->next;
  event("closed %u", p->id);
  free(p);
  if (--peer_count == 0) set_ticking(false);
}

static void set_remote(peer *p, const command *c, uint64_t now) {
  if (*field(c, "fingerprint")) dtls_expect(p, field(c, "fingerprint"));
  if (*field(c, "dtls") && (!p->ssl || p->dtls_outdated)) p->dtls_client = strcmp(field(c, "dtls"), "server") != 0;
  if (number(c, "sctp", 0) && !p->sctp_wanted) {
    p->sctp_wanted = true;
    data_start(p);
  }
  ice_set_remote(p, c, now);
}

static void print_usage(const command *c) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  long pages = 0;
  FILE *status = fopen("/proc/self/statm", "r");
  if (status) {
    if (fscanf(status, "%*d %ld", &pages) != 1) pages = 0;
    fclose(status);
  }
  long long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
  event("usage 0 token=%ld cpu_us=%lld rss_bytes=%ld peers=%d", number(c, "token", 0), cpu, pages * sysconf(_SC_PAGESIZE), peer_count);
}

static void peer_command(peer *p, const command *c, uint64_t now) {
  const char *verb = c->verb;
  uint32_t ssrc = (uint32_t)number(c, "ssrc", 0);
  if (!strcmp(verb, "remote")) set_remote(p, c, now);
  else if (!strcmp(verb, "receive")) receive_command(p, c);
  else if (!strcmp(verb, "receive-stop")) receive_stop(p, ssrc);
  else if (!strcmp(verb, "publish")) publish_command(p, c, now);
  else if (!strcmp(verb, "publish-set")) publish_set(p, c);
  else if (!strcmp(verb, "publish-stop")) publish_stop(p, ssrc);
  else if (!strcmp(verb, "watch")) watch_command(p, c, now);
  else if (!strcmp(verb, "stats")) stats_command(p, c, now);
  else if (!strcmp(verb, "pli")) request_key_frame(p, ssrc);
  else if (!strcmp(verb, "channel")) channel_command(p, c);
  else if (!strcmp(verb, "send")) send_command(p, c);
  else if (!strcmp(verb, "flood")) flood_command(p, c, now);
  else if (!strcmp(verb, "close")) close_peer(p, number(c, "silent", 0));
  else if (!strcmp(verb, "read")) {
    p->data_paused = !number(c, "on", 1);
    data_resume(p);
  } else event("problem %u what=unknown-command", p->id);
}

static void run_line(char *line, uint64_t now) {
  command c;
  if (!parse_command(line, &c)) return;
  if (!strcmp(c.verb, "open")) return open_peer(&c);
  if (!strcmp(c.verb, "usage")) return print_usage(&c);
  if (!strcmp(c.verb, "totals")) return totals_command(&c);
  if (!strcmp(c.verb, "trace")) return trace_command(&c);
  peer *p = find_peer(c.peer);
  if (p) peer_command(p, &c, now);
  else event("problem %u what=no-such-peer token=%ld", c.peer, number(&c, "token", 0));
}

static void read_commands(uint64_t now) {
  static char *buffer;
  static size_t size, capacity;
  if (capacity - size < 65536) buffer = realloc(buffer, capacity = (capacity ? capacity * 2 : 262144));
  ssize_t got = read(STDIN_FILENO, buffer + size, capacity - size - 1);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) exit(0);
  size += (size_t)got;
  size_t done = 0;
  for (char *end; (end = memchr(buffer + done, '\n', size - done));) {
    *end = 0;
    run_line(buffer + done, now);
    done = (size_t)(end - buffer) + 1;
  }
  memmove(buffer, buffer + done, size - done);
  size -= done;
}

static void datagram(peer *p, const struct sockaddr_in *from, uint8_t *data, size_t size, uint64_t now) {
  if (!size) return;
  if (data[0] < 4) ice_input(p, from, data, size, now);
  else if (data[0] >= 20 && data[0] < 64) {
    /* The goodbye of a server that was left comes from elsewhere. */
    if (!memcmp(&from->sin_addr, &p->remote.sin_addr, sizeof from->sin_addr) && from->sin_port == p->remote.sin_port) dtls_input(p, data, size);
  }
  else if (data[0] >= 128 && data[0] < 192 && size > 1 && data[1] >= 192 && data[1] < 224) rtcp_input(p, data, size, now);
  else if (data[0] >= 128 && data[0] < 192) rtp_input(p, data, size, now);
}

static void read_datagrams(peer *p) {
  static uint8_t data[BATCH][MAX_DATAGRAM] __attribute__((aligned(16)));
  static struct sockaddr_in from[BATCH];
  struct iovec parts[BATCH];
  struct mmsghdr batch[BATCH];
  memset(batch, 0, sizeof batch);
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){data[i], MAX_DATAGRAM};
    batch[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i], .msg_iovlen = 1};
  }
  int count = recvmmsg(p->fd, batch, BATCH, MSG_DONTWAIT, NULL);
  uint64_t now = now_us();
  for (int i = 0; i < count; i++) datagram(p, &from[i], data[i], batch[i].msg_len, now);
}

static void tick(void) {
  uint64_t expirations, now = now_us();
  if (read(tick_fd, &expirations, sizeof expirations) < 0) return;
  for (peer *p = peers; p; p = p->next) {
    ice_tick(p, now);
    dtls_tick(p);
    publish_tick(p, now);
    rtcp_tick(p, now);
    repair_tick(p, now);
    if (p->floods) flood_tick(p, now);
    if (p->queue) data_drain(p);
  }
  data_tick((uint32_t)((now - last_tick_us) / 1000));
  last_tick_us += (now - last_tick_us) / 1000 * 1000;
}

static void watch_fd(int fd, void *mark, uint32_t events) {
  struct epoll_event wanted = {.events = events, .data.ptr = mark};
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &wanted);
}

static void loop(void) {
  struct epoll_event ready[128];
  for (;;) {
    bool written = flush_events();
    int count = epoll_wait(poll_fd, ready, 128, written ? -1 : 5);
    bool commands = false;
    for (int i = 0; i < count; i++) {
      void *mark = ready[i].data.ptr;
      if (mark == &stdin_mark) commands = true;
      else if (mark == &tick_mark) tick();
      else read_datagrams(mark);
    }
    /* Last, since a command may free a peer that is still in `ready`. */
    if (commands) read_commands(now_us());
  }
}

int main(int argc, char **argv) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  srtp_init();
  dtls_init(argc > 1 ? argv[1] : "SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80");
  data_init();
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  watch_fd(STDIN_FILENO, &stdin_mark, EPOLLIN);
  watch_fd(tick_fd, &tick_mark, EPOLLIN);
  event("hello 0 fingerprint=%s", dtls_fingerprint());
  loop();
}
