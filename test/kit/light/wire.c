/*
 * The line protocol: `verb peer key=value key=value …`, one command per line on stdin, one event per line on stdout.
 * Values hold no spaces; binary data is base64. Events are gathered and written once per turn of the loop, so that a
 * slow reader costs memory (bounded) and never stalls the media.
 */
#include "endpoint.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_BACKLOG (256u * 1024 * 1024)

static char *backlog;
static size_t backlog_size, backlog_capacity;

bool parse_command(char *line, command *out) {
  char *rest = NULL;
  memset(out, 0, sizeof *out);
  out->verb = strtok_r(line, " ", &rest);
  if (!out->verb) return false;
  char *word = strtok_r(NULL, " ", &rest);
  if (word && !strchr(word, '=')) {
    out->peer = (uint32_t)strtoul(word, NULL, 10);
    word = strtok_r(NULL, " ", &rest);
  }
  for (; word && out->count < MAX_FIELDS; word = strtok_r(NULL, " ", &rest)) {
    char *equals = strchr(word, '=');
    if (!equals) return false;
    *equals = 0;
    out->keys[out->count] = word;
    out->values[out->count++] = equals + 1;
  }
  return true;
}

const char *field(const command *c, const char *key) {
  for (int i = 0; i < c->count; i++)
    if (!strcmp(c->keys[i], key)) return c->values[i];
  return "";
}

long number(const command *c, const char *key, long otherwise) {
  const char *value = field(c, key);
  return *value ? strtol(value, NULL, 10) : otherwise;
}

void text_field(const command *c, const char *key, char *out, size_t size) { snprintf(out, size, "%s", field(c, key)); }

static char *reserve(size_t size) {
  if (backlog_size + size > backlog_capacity) {
    size_t capacity = backlog_capacity ? backlog_capacity : 65536;
    while (capacity < backlog_size + size) capacity *= 2;
    if (capacity > MAX_BACKLOG || !(backlog = realloc(backlog, capacity))) {
      fprintf(stderr, "light endpoint: nobody reads the events\n");
      exit(3);
    }
    backlog_capacity = capacity;
  }
  return backlog + backlog_size;
}

void event(const char *format, ...) {
  va_list arguments;
  char *at = reserve(2048);
  va_start(arguments, format);
  int size = vsnprintf(at, 2047, format, arguments);
  va_end(arguments);
  if (size > 2046) size = 2046;
  at[size] = '\n';
  backlog_size += (size_t)size + 1;
}

void event_data(uint32_t peer, uint16_t stream, uint32_t ppid, const uint8_t *data, size_t size) {
  char *at = reserve(128 + size * 4 / 3 + 8);
  int head = sprintf(at, "data %u stream=%u ppid=%u data=", peer, stream, ppid);
  int body = EVP_EncodeBlock((uint8_t *)at + head, data, (int)size);
  at[head + body] = '\n';
  backlog_size += (size_t)(head + body) + 1;
}

long decode_base64(char *text) {
  size_t length = strlen(text);
  if (length % 4) return -1;
  long padding = length && text[length - 1] == '=' ? (text[length - 2] == '=' ? 2 : 1) : 0;
  int size = EVP_DecodeBlock((uint8_t *)text, (const uint8_t *)text, (int)length);
  return size < 0 ? -1 : size - padding;
}

bool flush_events(void) {
  size_t done = 0;
  while (done < backlog_size) {
    ssize_t written = write(STDOUT_FILENO, backlog + done, backlog_size - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno != EAGAIN) exit(0); /* The test is gone. */
    if (written < 0) break;
    done += (size_t)written;
  }
  memmove(backlog, backlog + done, backlog_size - done);
  backlog_size -= done;
  if (backlog_size == 0 && backlog_capacity > 4u * 1024 * 1024) {
    free(backlog);
    backlog = NULL;
    backlog_capacity = 0;
  }
  return backlog_size == 0;
}
