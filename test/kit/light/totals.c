/* Sums and delays over all peers, so that a crowd costs its reader one line. */
#include "endpoint.h"

#include <string.h>

totals all;

void histogram_add(histogram *h, uint64_t us) {
  h->count++;
  h->sum += us;
  if (us > h->max) h->max = us;
  /* Up to 16 one bucket per value; above, sixteen per octave. */
  unsigned octave = us < HISTOGRAM_STEPS ? 0 : (unsigned)(63 - __builtin_clzll(us)) - 3;
  size_t index = octave ? octave * HISTOGRAM_STEPS + ((us >> (octave - 1)) & (HISTOGRAM_STEPS - 1)) : us;
  size_t last = HISTOGRAM_OCTAVES * HISTOGRAM_STEPS - 1;
  h->buckets[index < last ? index : last]++;
}

static uint64_t percentile(const histogram *h, double share) {
  uint64_t wanted = (uint64_t)((double)h->count * share), seen = 0;
  for (size_t i = 0; i < HISTOGRAM_OCTAVES * HISTOGRAM_STEPS; i++) {
    seen += h->buckets[i];
    if (seen <= wanted) continue;
    size_t octave = i / HISTOGRAM_STEPS, step = i % HISTOGRAM_STEPS;
    return octave ? (uint64_t)(HISTOGRAM_STEPS + step) << (octave - 1) : step;
  }
  return h->max;
}

static void print_delay(uint32_t token, const char *what, const histogram *h) {
  event("delay 0 token=%u what=%s count=%llu mean_us=%llu p50_us=%llu p95_us=%llu p99_us=%llu max_us=%llu", token, what,
        (unsigned long long)h->count, (unsigned long long)(h->count ? h->sum / h->count : 0), (unsigned long long)percentile(h, 0.5),
        (unsigned long long)percentile(h, 0.95), (unsigned long long)percentile(h, 0.99), (unsigned long long)h->max);
}

typedef struct {
  uint64_t streams, heard, packets, bytes, lost, recovered, given_up, repeats, size_changes, unknown, sent, messages, message_bytes;
} sums;

static void add_stream(sums *sum, stream_in *s, bool reset) {
  if (s->repairs_ssrc) sum->repeats += s->packets;
  if (s->kind == STREAM_PADDING) return;
  uint64_t expected = s->started ? s->max_seq - s->base_seq + 1 : 0;
  sum->streams++;
  sum->heard += s->packets > s->packets_before;
  sum->packets += s->packets;
  sum->bytes += s->bytes;
  sum->lost += s->lost_before + expected - s->received;
  sum->recovered += s->recovered;
  sum->given_up += s->given_up;
  sum->size_changes += s->size_changes;
  if (reset) s->packets_before = s->packets;
}

/* Counters run on; reset=1 starts the delays, the requests and the count of streams that were heard anew. */
void totals_command(const command *c) {
  uint32_t token = (uint32_t)number(c, "token", 0);
  bool reset = number(c, "reset", 0);
  sums sum = {0};
  for (peer *p = first_peer(); p; p = p->next) {
    for (stream_in *s = p->in; s; s = s->next) add_stream(&sum, s, reset);
    for (stream_out *s = p->out; s; s = s->next) sum.sent += s->packets;
    sum.unknown += p->unknown_packets;
    sum.messages += p->data_messages;
    sum.message_bytes += p->data_bytes;
  }
  print_delay(token, "media", &all.media_delay);
  print_delay(token, "data", &all.data_delay);
  print_delay(token, "repair", &all.repair);
  event("totals 0 token=%u streams=%llu heard=%llu packets=%llu bytes=%llu lost=%llu recovered=%llu given_up=%llu repeats=%llu "
        "size_changes=%llu unknown=%llu sent=%llu messages=%llu message_bytes=%llu nacks=%llu plis=%llu",
        token, (unsigned long long)sum.streams, (unsigned long long)sum.heard, (unsigned long long)sum.packets, (unsigned long long)sum.bytes,
        (unsigned long long)sum.lost, (unsigned long long)sum.recovered, (unsigned long long)sum.given_up, (unsigned long long)sum.repeats,
        (unsigned long long)sum.size_changes, (unsigned long long)sum.unknown, (unsigned long long)sum.sent, (unsigned long long)sum.messages,
        (unsigned long long)sum.message_bytes, (unsigned long long)all.nacks, (unsigned long long)all.plis);
  if (reset) memset(&all, 0, sizeof all);
}
