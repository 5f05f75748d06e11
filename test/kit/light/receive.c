/*
 * Incoming RTP: counted by the clear header alone. Only the first packet of each video frame and one audio packet in fifty
 * are decrypted: enough to see VP8 key frames with their size and to sample the delay that our own publishers stamp. Peers
 * opened with `sample` decrypt one packet of so many, and first packets only while a watch waits for a key frame.
 */
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW 64
#define RESTART_AFTER 3000
#define MAX_SILENCE_US 1000000
#define AUDIO_SAMPLE 50

stream_in *find_stream_in(peer *p, uint32_t ssrc) {
  for (stream_in *s = p->in; s; s = s->next)
    if (s->ssrc == ssrc) return s;
  return NULL;
}

void receive_command(peer *p, const command *c) {
  uint32_t ssrc = (uint32_t)number(c, "ssrc", 0);
  const char *kind = field(c, "kind");
  long tcc_ext = number(c, "tcc_ext", 0);
  if (tcc_ext) p->tcc_ext = (uint8_t)tcc_ext;
  if (find_stream_in(p, ssrc)) return;
  stream_in *s = calloc(1, sizeof *s);
  s->ssrc = ssrc;
  s->kind = !strcmp(kind, "video") ? STREAM_VIDEO : !strcmp(kind, "audio") ? STREAM_AUDIO : STREAM_PADDING;
  s->vp8 = !strcmp(field(c, "codec"), "vp8");
  s->nack = number(c, "nack", 0);
  s->repairs_ssrc = (uint32_t)number(c, "repairs", 0);
  stream_in *former = find_stream_in(p, (uint32_t)number(c, "continues", 0));
  if (former && former->started) {
    s->continues_us = former->last_us;
    s->max_gap_us = former->max_gap_us;
  }
  s->next = p->in;
  p->in = s;
}

void receive_stop(peer *p, uint32_t ssrc) {
  for (stream_in **at = &p->in; *at; at = &(*at)->next) {
    if ((*at)->ssrc != ssrc) continue;
    stream_in *gone = *at;
    *at = gone->next;
    free(gone->missing);
    free(gone);
    return;
  }
}

static void restart(stream_in *s, uint16_t seq, uint64_t now) {
  if (s->started) s->lost_before += s->max_seq - s->base_seq + 1 - s->received;
  s->base_seq = s->max_seq = seq;
  s->received = 1;
  s->seen = 1;
  s->expected_prior = s->received_prior = 0;
  s->run_us = now;
  s->missing_count = 0;
}

/* Keeps sequence numbers extended and the run of gapless packets; false for a packet that was there before. */
static bool count_sequence(stream_in *s, uint16_t seq, uint64_t now) {
  if (!s->started) {
    restart(s, seq, now);
    s->started = true;
    s->first_us = s->last_us = now;
    if (s->continues_us) s->last_us = s->continues_us; /* The gap between the two counts. */
    return true;
  }
  int delta = (int16_t)(uint16_t)(seq - (uint16_t)s->max_seq);
  if (delta > RESTART_AFTER || delta < -RESTART_AFTER) {
    s->restarts++;
    restart(s, seq, now);
  } else if (delta > 0) {
    if (delta > 1 || now - s->last_us > MAX_SILENCE_US) s->run_us = now;
    if (delta > 1 && s->nack) repair_gap(s, (uint16_t)(s->max_seq + 1), delta - 1, now);
    s->max_seq += (uint32_t)delta;
    s->received++;
    s->seen = delta >= WINDOW ? 1 : s->seen << delta | 1;
  } else {
    uint64_t bit = -delta < WINDOW ? 1ull << -delta : 0;
    if (!bit || s->seen & bit) {
      s->duplicates++;
      return false;
    }
    s->seen |= bit;
    s->late++;
    s->received++;
  }
  return true;
}

static void look_inside(peer *p, stream_in *s, const uint8_t *data, size_t size, uint64_t now) {
  uint8_t copy[MAX_DATAGRAM];
  int length = (int)size;
  memcpy(copy, data, size);
  if (srtp_unprotect(p->srtp_in, copy, &length) != srtp_err_status_ok) {
    s->undecryptable++;
    return;
  }
  size_t head = 12 + 4u * (copy[0] & 15);
  if (copy[0] & 0x10) head += 4 + 4u * get16(copy + head + 2);
  if (head + 12 > (size_t)length) return;
  const uint8_t *payload = copy + head;
  size_t left = (size_t)length - head;
  if (!memcmp(payload + left - 12, "PLNM", 4)) {
    uint64_t sent = (uint64_t)get32(payload + left - 8) << 32 | get32(payload + left - 4);
    uint64_t delay = now > sent ? now - sent : 0;
    s->delay_samples++;
    s->delay_sum_us += delay;
    if (delay > s->delay_max_us) s->delay_max_us = delay;
    histogram_add(&all.media_delay, delay);
  }
  if (!s->vp8 || (payload[0] & 0x17) != 0x10) return;
  size_t at = 1;
  if (payload[0] & 0x80) {
    uint8_t flags = payload[at++];
    if (flags & 0x80) at += payload[at] & 0x80 ? 2 : 1;
    if (flags & 0x40) at++;
    if (flags & 0x30) at++;
  }
  const uint8_t *frame = payload + at;
  if (at + 10 > left || frame[0] & 1) return;
  uint16_t width = (uint16_t)((frame[6] | frame[7] << 8) & 0x3fff);
  s->size_changes += s->key_frames && s->width != width;
  s->key_frames++;
  s->width = width;
  s->height = (uint16_t)((frame[8] | frame[9] << 8) & 0x3fff);
  event("keyframe %u ssrc=%u width=%u height=%u", p->id, s->ssrc, s->width, s->height);
}

static void print_stream(peer *p, stream_in *s, const char *verb, uint32_t token, uint64_t now) {
  uint32_t expected = s->started ? s->max_seq - s->base_seq + 1 : 0;
  uint64_t lost = s->lost_before + expected - s->received;
  event("%s %u token=%u ssrc=%u packets=%llu bytes=%llu lost=%llu duplicates=%llu late=%llu restarts=%llu run_us=%llu "
        "max_gap_us=%llu silent_us=%llu key_frames=%u width=%u height=%u undecryptable=%u delay_samples=%llu delay_sum_us=%llu delay_max_us=%llu",
        verb, p->id, token, s->ssrc, (unsigned long long)s->packets, (unsigned long long)s->bytes, (unsigned long long)lost,
        (unsigned long long)s->duplicates, (unsigned long long)s->late, (unsigned long long)s->restarts,
        (unsigned long long)(s->last_us - s->run_us), (unsigned long long)s->max_gap_us,
        (unsigned long long)(s->started ? now - s->last_us : 0), s->key_frames, s->width, s->height, s->undecryptable,
        (unsigned long long)s->delay_samples, (unsigned long long)s->delay_sum_us, (unsigned long long)s->delay_max_us);
}

static void check_watch(peer *p, stream_in *s, uint64_t now) {
  if (!s->watched || !s->started || s->last_us - s->run_us < s->watch_us || (s->watch_key && !s->key_frames)) return;
  s->watched = false;
  print_stream(p, s, "watched", s->watch_token, now);
}

static uint8_t *extension(uint8_t *data, size_t size, uint8_t id) {
  size_t at = 12 + 4u * (data[0] & 15);
  if (!(data[0] & 0x10) || at + 4 > size || get16(data + at) != 0xbede) return NULL;
  size_t end = at + 4 + 4u * get16(data + at + 2);
  for (at += 4; at < end && end <= size;) {
    if (!data[at]) {
      at++;
      continue;
    }
    if (data[at] >> 4 == id) return data + at + 1;
    at += 2 + (data[at] & 15);
  }
  return NULL;
}

void rtp_input(peer *p, uint8_t *data, size_t size, uint64_t now) {
  if (size < 12 || !p->srtp_in) return;
  uint32_t ssrc = get32(data + 8);
  uint8_t *transport_sequence = p->tcc_ext ? extension(data, size, p->tcc_ext) : NULL;
  if (transport_sequence) note_arrival(p, get16(transport_sequence), now);
  stream_in *s = find_stream_in(p, ssrc);
  if (!s) {
    p->unknown_packets++;
    return;
  }
  s->packets++;
  s->bytes += size;
  bool first = !s->started;
  if (s->repairs_ssrc) {
    rtx_input(p, s, data, size, now);
    return;
  }
  if (!count_sequence(s, get16(data + 2), now)) return;
  if (s->missing_count) repair_arrived(p, s, get16(data + 2), now);
  if (now - s->last_us > s->max_gap_us) s->max_gap_us = now - s->last_us;
  s->last_us = now;
  uint32_t timestamp = get32(data + 4);
  bool new_frame = first || timestamp != s->timestamp;
  s->timestamp = timestamp;
  bool awaits_key = s->watched && s->watch_key && !s->key_frames;
  bool sampled = s->kind != STREAM_PADDING && s->packets % (p->sample ? p->sample : AUDIO_SAMPLE) == 1;
  if (s->kind == STREAM_VIDEO && (awaits_key || !p->sample) ? new_frame : sampled) look_inside(p, s, data, size, now);
  check_watch(p, s, now);
}

void watch_command(peer *p, const command *c, uint64_t now) {
  stream_in *s = find_stream_in(p, (uint32_t)number(c, "ssrc", 0));
  uint32_t token = (uint32_t)number(c, "token", 0);
  if (!s) {
    event("problem %u what=no-such-stream token=%u", p->id, token);
    return;
  }
  s->watched = true;
  s->watch_token = token;
  s->watch_us = (uint64_t)number(c, "ms", 0) * 1000;
  s->watch_key = number(c, "key", 0);
  check_watch(p, s, now);
}

/* One `stream` line per stream, then one `stats` line; reset=1 starts the gap and run measurements anew. */
void stats_command(peer *p, const command *c, uint64_t now) {
  uint32_t token = (uint32_t)number(c, "token", 0);
  bool reset = number(c, "reset", 0);
  for (stream_in *s = p->in; s; s = s->next) {
    if (s->kind != STREAM_PADDING) print_stream(p, s, "stream", token, now);
    if (!reset) continue;
    s->max_gap_us = 0;
    s->delay_samples = s->delay_sum_us = s->delay_max_us = 0;
    s->run_us = s->last_us;
  }
  for (stream_out *s = p->out; s; s = s->next)
    event("sent %u token=%u ssrc=%u packets=%u bytes=%u key_frames=%u key_requests=%u", p->id, token, s->ssrc, s->packets, s->octets,
          s->key_frames, s->key_requests);
  event("stats %u token=%u unknown_packets=%llu data_messages=%llu data_bytes=%llu queued_bytes=%zu", p->id, token,
        (unsigned long long)p->unknown_packets, (unsigned long long)p->data_messages, (unsigned long long)p->data_bytes, p->queued_bytes);
}

void receive_free(peer *p) {
  while (p->in) receive_stop(p, p->in->ssrc);
}
