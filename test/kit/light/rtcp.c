/*
 * RTCP: receiver and sender reports once a second, transport-wide feedback every 100 ms, key-frame requests both ways.
 */
#include "endpoint.h"

#include <string.h>
#include <time.h>

#define REPORT_INTERVAL_US 1000000
#define FEEDBACK_INTERVAL_US 100000
#define OWN_SSRC 1
#define TCC_TICK_US 250
#define TCC_REFERENCE_US 64000

enum { SENDER_REPORT = 200, RECEIVER_REPORT = 201, RTP_FEEDBACK = 205, PAYLOAD_FEEDBACK = 206 };
enum { FORMAT_NACK = 1 };
enum { FORMAT_PLI = 1, FORMAT_FIR = 4, FORMAT_TRANSPORT_CC = 15 };

void send_rtcp(peer *p, uint8_t *packet, size_t size) {
  int length = (int)size;
  if (p->srtp_out && srtp_protect_rtcp(p->srtp_out, packet, &length) == srtp_err_status_ok)
    send_datagram(p, &p->remote, packet, (size_t)length);
}

static void head(uint8_t *packet, int count, int type, size_t size) {
  packet[0] = (uint8_t)(0x80 | count);
  packet[1] = (uint8_t)type;
  put16(packet + 2, (uint32_t)(size / 4 - 1));
}

void request_key_frame(peer *p, uint32_t ssrc) {
  uint8_t packet[64];
  put32(packet + 4, OWN_SSRC);
  put32(packet + 8, ssrc);
  head(packet, FORMAT_PLI, PAYLOAD_FEEDBACK, 12);
  send_rtcp(p, packet, 12);
  all.plis++;
}

/* RFC 4585 section 6.2.1; sequences ascend. */
void send_nack(peer *p, uint32_t ssrc, const uint16_t *sequences, int count) {
  uint8_t packet[12 + 4 * MAX_MISSING + SRTP_MAX_TRAILER_LEN + 8];
  size_t size = 12;
  for (int i = 0; i < count;) {
    uint16_t first = sequences[i++], mask = 0;
    for (; i < count && (uint16_t)(sequences[i] - first) <= 16; i++) mask |= (uint16_t)(1u << ((uint16_t)(sequences[i] - first) - 1));
    put16(packet + size, first);
    put16(packet + size + 2, mask);
    size += 4;
  }
  put32(packet + 4, OWN_SSRC);
  put32(packet + 8, ssrc);
  head(packet, FORMAT_NACK, RTP_FEEDBACK, size);
  send_rtcp(p, packet, size);
  all.nacks++;
}

static void want_key_frame(peer *p, uint32_t ssrc) {
  stream_out *s = find_stream_out(p, ssrc);
  if (!s) return;
  s->key_wanted = true;
  s->key_requests++;
}

static void sender_report(peer *p, const uint8_t *one, size_t size, uint64_t now) {
  stream_in *s = size >= 28 ? find_stream_in(p, get32(one + 4)) : NULL;
  if (!s) return;
  s->sr_middle = get32(one + 10);
  s->sr_us = now;
}

void rtcp_input(peer *p, uint8_t *data, size_t size, uint64_t now) {
  int length = (int)size;
  if (!p->srtp_in || srtp_unprotect_rtcp(p->srtp_in, data, &length) != srtp_err_status_ok) return;
  for (size_t at = 0; at + 8 <= (size_t)length;) {
    const uint8_t *one = data + at;
    size_t bytes = 4u * (get16(one + 2) + 1u);
    if (at + bytes > (size_t)length) return;
    int format = one[0] & 31;
    if (one[1] == SENDER_REPORT) sender_report(p, one, bytes, now);
    if (one[1] == PAYLOAD_FEEDBACK && format == FORMAT_PLI && bytes >= 12) want_key_frame(p, get32(one + 8));
    if (one[1] == PAYLOAD_FEEDBACK && format == FORMAT_FIR)
      for (size_t entry = 12; entry + 8 <= bytes; entry += 8) want_key_frame(p, get32(one + entry));
    at += bytes;
  }
}

static void report_block(stream_in *s, uint8_t *block, uint64_t now) {
  uint32_t expected = s->max_seq - s->base_seq + 1;
  uint32_t received = s->received;
  int32_t lost = (int32_t)(expected - received);
  int32_t lost_now = (int32_t)(expected - s->expected_prior) - (int32_t)(received - s->received_prior);
  uint32_t expected_now = expected - s->expected_prior;
  s->expected_prior = expected;
  s->received_prior = received;
  put32(block, s->ssrc);
  block[4] = expected_now && lost_now > 0 ? (uint8_t)((uint32_t)lost_now * 255 / expected_now) : 0;
  put24(block + 5, (uint32_t)(lost < 0 ? 0 : lost));
  put32(block + 8, s->max_seq);
  put32(block + 12, 0);
  put32(block + 16, s->sr_middle);
  put32(block + 20, s->sr_us ? (uint32_t)((now - s->sr_us) * 65536 / 1000000) : 0);
}

static void send_receiver_report(peer *p, uint64_t now) {
  uint8_t packet[8 + 31 * 24 + SRTP_MAX_TRAILER_LEN + 8];
  int count = 0;
  for (stream_in *s = p->in; s && count < 31; s = s->next)
    if (s->started && s->kind != STREAM_PADDING) report_block(s, packet + 8 + 24 * count++, now);
  if (!count) return;
  put32(packet + 4, OWN_SSRC);
  head(packet, count, RECEIVER_REPORT, (size_t)(8 + 24 * count));
  send_rtcp(p, packet, (size_t)(8 + 24 * count));
}

static void send_sender_report(peer *p, stream_out *s, uint64_t now) {
  uint8_t packet[28 + SRTP_MAX_TRAILER_LEN + 8];
  struct timespec clock;
  clock_gettime(CLOCK_REALTIME, &clock);
  uint32_t rate = s->video ? 90000 : 48000;
  put32(packet + 4, s->ssrc);
  put32(packet + 8, (uint32_t)clock.tv_sec + 2208988800u);
  put32(packet + 12, (uint32_t)(((uint64_t)clock.tv_nsec << 32) / 1000000000u));
  put32(packet + 16, s->timestamp + (uint32_t)((now - s->frame_us) * rate / 1000000));
  put32(packet + 20, s->packets);
  put32(packet + 24, s->octets);
  head(packet, 0, SENDER_REPORT, 28);
  send_rtcp(p, packet, 28);
}

void note_arrival(peer *p, uint16_t seq, uint64_t now) {
  if (p->arrival_count == MAX_ARRIVALS) return;
  p->arrivals[p->arrival_count].seq = seq;
  p->arrivals[p->arrival_count++].us = now;
}

/* draft-holmer-rmcat-transport-wide-cc-extensions-01, two-bit status vectors only. */
static void send_transport_feedback(peer *p) {
  uint8_t packet[20 + MAX_ARRIVALS / 7 * 2 + 4 + MAX_ARRIVALS * 2 + 4 + SRTP_MAX_TRAILER_LEN + 8];
  uint64_t at[MAX_ARRIVALS] = {0}; /* arrival time of base + index */
  uint16_t base = p->tcc_started ? p->tcc_next : p->arrivals[0].seq;
  if ((uint16_t)(p->arrivals[0].seq - base) >= MAX_ARRIVALS) base = p->arrivals[0].seq;
  int count = 0;
  for (int i = 0; i < p->arrival_count; i++) {
    uint16_t offset = (uint16_t)(p->arrivals[i].seq - base);
    if (offset >= MAX_ARRIVALS || at[offset]) continue;
    at[offset] = p->arrivals[i].us;
    if (offset >= count) count = offset + 1;
  }
  p->arrival_count = 0;
  if (!count) return;
  p->tcc_started = true;
  p->tcc_next = (uint16_t)(base + count);

  int first = 0;
  while (!at[first]) first++;
  uint64_t reference = at[first] / TCC_REFERENCE_US;
  int64_t previous = (int64_t)(reference * TCC_REFERENCE_US / TCC_TICK_US);
  size_t size = 20 + (size_t)(count + 6) / 7 * 2;
  uint8_t *chunk = packet + 20;
  for (int i = 0; i < count; i += 7, chunk += 2) {
    uint32_t symbols = 0xc000;
    for (int j = i; j < i + 7 && j < count; j++) {
      if (!at[j]) continue;
      int64_t ticks = (int64_t)(at[j] / TCC_TICK_US), delta = ticks - previous;
      previous = ticks;
      bool small = delta >= 0 && delta <= 255;
      if (delta > 32767) delta = 32767;
      if (delta < -32768) delta = -32768;
      symbols |= (small ? 1u : 2u) << (12 - 2 * (j - i));
      if (small) packet[size++] = (uint8_t)delta;
      else put16(packet + size, (uint16_t)delta), size += 2;
    }
    put16(chunk, symbols);
  }
  while (size % 4) packet[size++] = 0;
  put32(packet + 4, OWN_SSRC);
  put32(packet + 8, p->in ? p->in->ssrc : 0);
  put16(packet + 12, base);
  put16(packet + 14, (uint32_t)count);
  put24(packet + 16, (uint32_t)reference & 0xffffff);
  packet[19] = p->tcc_count++;
  head(packet, FORMAT_TRANSPORT_CC, RTP_FEEDBACK, size);
  send_rtcp(p, packet, size);
}

void rtcp_tick(peer *p, uint64_t now) {
  if (!p->srtp_out || p->dtls_gone) return;
  if (now >= p->next_tcc_us && p->arrival_count) {
    p->next_tcc_us = now + FEEDBACK_INTERVAL_US;
    send_transport_feedback(p);
  }
  if (now < p->next_rtcp_us) return;
  p->next_rtcp_us = now + REPORT_INTERVAL_US;
  send_receiver_report(p, now);
  for (stream_out *s = p->out; s; s = s->next)
    if (s->packets && !s->paused) send_sender_report(p, s, now);
}
