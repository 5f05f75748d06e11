/*
 * Fake publishers: Opus (50 packets a second, audio level) and VP8, one stream per simulcast layer. As libwebrtc does, VP8
 * has a picture id always, and three temporal layers with TL0PICIDX where asked (simulcast); mediasoup forwards a stream
 * that names only layer 0 of several declared ones not at all. Payloads are filler whose last 12 bytes are a mark and the
 * time of sending, from which receivers of this kit sample the delay. Frames have one size, or the sizes of a trace that was
 * recorded from an encoder.
 */
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

#define AUDIO_INTERVAL_US 20000
#define PAYLOAD_LIMIT 1100
#define KEY_FRAME_FACTOR 4
#define SENDER_HASTE_US 100000

static struct {
  uint32_t *sizes;
  uint32_t count, average;
} traces[MAX_TRACES];

void trace_command(const command *c) {
  if (!c->peer || c->peer > MAX_TRACES) return;
  uint32_t count = 0, capacity = 0, *sizes = NULL;
  uint64_t sum = 0;
  for (const char *at = field(c, "sizes"); *at;) {
    char *end;
    if (count == capacity) sizes = realloc(sizes, sizeof *sizes * (capacity = capacity ? capacity * 2 : 256));
    sizes[count] = (uint32_t)strtoul(at, &end, 10);
    sum += sizes[count++];
    at = *end == ',' ? end + 1 : end;
  }
  free(traces[c->peer - 1].sizes);
  traces[c->peer - 1].sizes = sizes;
  traces[c->peer - 1].count = count;
  traces[c->peer - 1].average = count ? (uint32_t)(sum / count) : 0;
}

stream_out *find_stream_out(peer *p, uint32_t ssrc) {
  for (stream_out *s = p->out; s; s = s->next)
    if (s->ssrc == ssrc) return s;
  return NULL;
}

static void set_rates(stream_out *s, const command *c) {
  long fps = number(c, "fps", 15), bitrate_bps = number(c, "bps", 150000);
  if (fps < 1) fps = 1;
  s->interval_us = s->video ? (uint32_t)(1000000 / fps) : AUDIO_INTERVAL_US;
  s->frame_bytes = s->video ? (uint32_t)(bitrate_bps / 8 / fps) : (uint32_t)number(c, "payload_bytes", 60);
  if (s->frame_bytes < 40) s->frame_bytes = 40;
  if (!s->video && s->frame_bytes > PAYLOAD_LIMIT) s->frame_bytes = PAYLOAD_LIMIT;
}

void publish_command(peer *p, const command *c, uint64_t now) {
  uint32_t ssrc = (uint32_t)number(c, "ssrc", 0);
  if (find_stream_out(p, ssrc)) return;
  stream_out *s = calloc(1, sizeof *s);
  s->ssrc = ssrc;
  s->video = !strcmp(field(c, "kind"), "video");
  s->payload_type = (uint8_t)number(c, "pt", 0);
  s->mid_ext = (uint8_t)number(c, "mid_ext", 0);
  s->rid_ext = (uint8_t)number(c, "rid_ext", 0);
  s->level_ext = (uint8_t)number(c, "level_ext", 0);
  s->level = (uint8_t)number(c, "level", 30);
  s->tcc_ext = (uint8_t)number(c, "tcc_ext", 0);
  text_field(c, "mid", s->mid, sizeof s->mid);
  text_field(c, "rid", s->rid, sizeof s->rid);
  s->width = (uint16_t)number(c, "width", 640);
  s->height = (uint16_t)number(c, "height", 360);
  s->paused = number(c, "paused", 0);
  s->temporal = number(c, "temporal_layers", 1) == 3;
  s->key_wanted = true;
  random_bytes(&s->seq, sizeof s->seq);
  random_bytes(&s->timestamp, sizeof s->timestamp);
  set_rates(s, c);
  long trace = number(c, "trace", 0);
  s->average_bytes = s->frame_bytes;
  if (trace > 0 && trace <= MAX_TRACES && traces[trace - 1].count) {
    s->trace = (int)trace;
    s->trace_at = (uint32_t)number(c, "trace_from", 0);
    s->average_bytes = traces[trace - 1].average;
  }
  s->next_us = now;
  s->next = p->out;
  p->out = s;
  if (p->next_rtcp_us > now + SENDER_HASTE_US) p->next_rtcp_us = now + SENDER_HASTE_US;
}

void publish_set(peer *p, const command *c) {
  stream_out *s = find_stream_out(p, (uint32_t)number(c, "ssrc", 0));
  if (!s) return;
  bool paused = number(c, "paused", s->paused);
  if (s->paused && !paused) {
    s->key_wanted = true;
    s->next_us = now_us();
  }
  s->paused = paused;
  s->level = (uint8_t)number(c, "level", s->level);
  if (*field(c, "fps") || *field(c, "payload_bytes")) {
    set_rates(s, c);
    if (!s->trace) s->average_bytes = s->frame_bytes;
  }
}

void publish_stop(peer *p, uint32_t ssrc) {
  for (stream_out **at = &p->out; *at; at = &(*at)->next) {
    if ((*at)->ssrc != ssrc) continue;
    stream_out *gone = *at;
    *at = gone->next;
    free(gone);
    return;
  }
}

void publish_free(peer *p) {
  while (p->out) publish_stop(p, p->out->ssrc);
}

static size_t put_extension(uint8_t *at, uint8_t id, const void *value, size_t size) {
  if (!id || !size) return 0;
  at[0] = (uint8_t)(id << 4 | (size - 1));
  memcpy(at + 1, value, size);
  return 1 + size;
}

static size_t put_head(peer *p, stream_out *s, uint8_t *packet, bool marker) {
  packet[0] = 0x90;
  packet[1] = (uint8_t)(s->payload_type | (marker ? 0x80 : 0));
  put16(packet + 2, s->seq++);
  put32(packet + 4, s->timestamp);
  put32(packet + 8, s->ssrc);
  put16(packet + 12, 0xbede);
  uint8_t *at = packet + 16, level = (uint8_t)((s->level < 60 ? 0x80 : 0) | (s->level & 0x7f)), sequence[2];
  at += put_extension(at, s->mid_ext, s->mid, strlen(s->mid));
  at += put_extension(at, s->rid_ext, s->rid, strlen(s->rid));
  if (!s->video) at += put_extension(at, s->level_ext, &level, 1);
  if (s->tcc_ext) {
    put16(sequence, p->tcc_out_seq++);
    at += put_extension(at, s->tcc_ext, sequence, 2);
  }
  while ((at - packet) % 4) *at++ = 0;
  put16(packet + 14, (uint32_t)(at - packet - 16) / 4);
  return (size_t)(at - packet);
}

static void send_rtp(peer *p, stream_out *s, uint8_t *packet, size_t head, size_t payload, uint64_t now) {
  memcpy(packet + head + payload - 12, "PLNM", 4);
  put64(packet + head + payload - 8, now);
  int size = (int)(head + payload);
  if (srtp_protect(p->srtp_out, packet, &size) != srtp_err_status_ok) return;
  send_datagram(p, &p->remote, packet, (size_t)size);
  s->packets++;
  s->octets += (uint32_t)payload;
}

/* Layer ids of the pattern 0-2-1-2; 0x20 marks frames that depend on layer 0 only. */
static const uint8_t temporal_pattern[] = {0x00, 0xa0, 0x60, 0x80};

static void put_vp8(stream_out *s, uint8_t *at, bool first, bool key) {
  *at++ = (uint8_t)(0x80 | (first ? 0x10 : 0));
  *at++ = s->temporal ? 0xe0 : 0x80;
  put16(at, 0x8000u | (s->picture_id & 0x7fff));
  at += 2;
  if (s->temporal) {
    *at++ = s->tl0;
    *at++ = temporal_pattern[s->pattern_at];
  }
  if (!first) return;
  put24(at, key ? 0x100000 : 0x110000);
  if (!key) return;
  put24(at + 3, 0x9d012a);
  at[6] = (uint8_t)s->width, at[7] = (uint8_t)(s->width >> 8);
  at[8] = (uint8_t)s->height, at[9] = (uint8_t)(s->height >> 8);
}

static uint32_t next_frame_bytes(stream_out *s) {
  if (!s->trace) return s->frame_bytes;
  uint32_t size = traces[s->trace - 1].sizes[s->trace_at++ % traces[s->trace - 1].count];
  return size < 40 ? 40 : size;
}

static void send_frame(peer *p, stream_out *s, uint64_t now) {
  static uint8_t packet[MAX_DATAGRAM];
  if (!s->video) {
    size_t head = put_head(p, s, packet, false);
    memset(packet + head, 0x5a, s->frame_bytes);
    send_rtp(p, s, packet, head, s->frame_bytes, now);
    return;
  }
  bool key = s->key_wanted;
  s->key_wanted = false;
  s->key_frames += key;
  s->picture_id++;
  s->pattern_at = key ? 0 : (s->pattern_at + 1) % sizeof temporal_pattern;
  if (!s->pattern_at) s->tl0++;
  size_t left = next_frame_bytes(s);
  if (key) left = (size_t)s->average_bytes * KEY_FRAME_FACTOR;
  for (bool first = true; left; first = false) {
    size_t payload = left > PAYLOAD_LIMIT ? PAYLOAD_LIMIT : left;
    left -= payload;
    if (left && left < 40) left = 0; /* A shred too small for the stamp is not worth a packet. */
    size_t head = put_head(p, s, packet, !left);
    memset(packet + head, 0x5a, payload);
    put_vp8(s, packet + head, first, key);
    send_rtp(p, s, packet, head, payload, now);
  }
}

void publish_tick(peer *p, uint64_t now) {
  if (!p->srtp_out || !p->dtls_up || p->dtls_gone) return;
  for (stream_out *s = p->out; s; s = s->next) {
    if (s->paused || now < s->next_us) continue;
    if (now - s->next_us > 200000) s->next_us = now; /* Woken late or not yet connected: do not send the past in a burst. */
    while (s->next_us <= now) {
      if (s->frame_us) s->timestamp += (uint32_t)((s->next_us - s->frame_us) * (s->video ? 90 : 48) / 1000);
      s->frame_us = s->next_us;
      send_frame(p, s, now);
      s->next_us += s->interval_us;
    }
  }
}
