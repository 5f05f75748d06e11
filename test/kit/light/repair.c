/*
 * Packets that did not come in their turn: asked for with NACK as libwebrtc does (10 ms after the gap, again after each round
 * trip), found again in the stream itself or in its RTX stream, given up after a second with a request for a key frame.
 */
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_NACK_US 10000
#define NACK_INTERVAL_US 100000
#define MAX_TRIES 10
#define GIVE_UP_US 1000000

void repair_gap(stream_in *s, uint16_t first, int count, uint64_t now) {
  if (!s->missing) s->missing = malloc(sizeof *s->missing * MAX_MISSING);
  for (int i = 0; i < count && s->missing_count < MAX_MISSING; i++)
    s->missing[s->missing_count++] = (missing_packet){.seq = (uint16_t)(first + i), .noticed_us = now, .next_us = now + FIRST_NACK_US};
}

static bool forget(stream_in *s, uint16_t seq, uint64_t *noticed_us) {
  for (int i = 0; i < s->missing_count; i++) {
    if (s->missing[i].seq != seq) continue;
    *noticed_us = s->missing[i].noticed_us;
    memmove(s->missing + i, s->missing + i + 1, sizeof *s->missing * (size_t)(--s->missing_count - i));
    return true;
  }
  return false;
}

/* It came late by itself, or because it was asked for, in the stream where it belongs. */
void repair_arrived(peer *p, stream_in *s, uint16_t seq, uint64_t now) {
  uint64_t noticed_us;
  (void)p;
  if (forget(s, seq, &noticed_us)) histogram_add(&all.repair, now - noticed_us);
}

/* RFC 4588: the payload begins with the sequence number of what it repairs. Repeated packets that probe for bandwidth repair nothing. */
void rtx_input(peer *p, stream_in *rtx, const uint8_t *data, size_t size, uint64_t now) {
  stream_in *s = find_stream_in(p, rtx->repairs_ssrc);
  uint8_t copy[MAX_DATAGRAM];
  int length = (int)size;
  if (!s || !s->missing_count) return;
  memcpy(copy, data, size);
  if (srtp_unprotect(p->srtp_in, copy, &length) != srtp_err_status_ok) return;
  size_t head = 12 + 4u * (copy[0] & 15);
  if (copy[0] & 0x10) head += 4 + 4u * get16(copy + head + 2);
  if (head + 2 > (size_t)length) return;
  uint64_t noticed_us;
  if (!forget(s, get16(copy + head), &noticed_us)) return;
  s->recovered++;
  histogram_add(&all.repair, now - noticed_us);
}

static void ask(peer *p, stream_in *s, uint64_t now) {
  uint16_t due[MAX_MISSING];
  int count = 0, kept = 0;
  bool gave_up = false;
  for (int i = 0; i < s->missing_count; i++) {
    missing_packet *one = &s->missing[i];
    if (one->tries == MAX_TRIES || now - one->noticed_us > GIVE_UP_US) {
      s->given_up++;
      gave_up = true;
      continue;
    }
    if (now >= one->next_us) {
      due[count++] = one->seq;
      one->tries++;
      one->next_us = now + NACK_INTERVAL_US;
    }
    s->missing[kept++] = *one;
  }
  s->missing_count = kept;
  if (count) send_nack(p, s->ssrc, due, count);
  if (gave_up && s->kind == STREAM_VIDEO) request_key_frame(p, s->ssrc);
}

void repair_tick(peer *p, uint64_t now) {
  if (!p->srtp_out || p->dtls_gone) return;
  for (stream_in *s = p->in; s; s = s->next)
    if (s->missing_count) ask(p, s, now);
}
