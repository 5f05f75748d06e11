/*
 * ICE in the controlling role towards a server (RFC 8445, RFC 8489): checks with USE-CANDIDATE to every candidate until one
 * answers, then consent checks on it. Checks of a server that is not ICE-lite are answered too.
 */
#include "endpoint.h"

#include <arpa/inet.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINDING_REQUEST = 0x0001, BINDING_SUCCESS = 0x0101, BINDING_ERROR = 0x0111 };
enum {
  ATTRIBUTE_USERNAME = 0x0006,
  ATTRIBUTE_INTEGRITY = 0x0008,
  ATTRIBUTE_ERROR_CODE = 0x0009,
  ATTRIBUTE_MAPPED = 0x0020,
  ATTRIBUTE_PRIORITY = 0x0024,
  ATTRIBUTE_USE_CANDIDATE = 0x0025,
  ATTRIBUTE_FINGERPRINT = 0x8028,
  ATTRIBUTE_CONTROLLING = 0x802a,
};

#define MAGIC_COOKIE 0x2112a442u
#define FIRST_INTERVAL_US 50000
#define LONGEST_INTERVAL_US 800000
#define CONSENT_INTERVAL_US 5000000
#define LOST_INTERVAL_US 500000
#define FAIL_AFTER_US 15000000
#define LOST_AFTER_US 8000000

static uint32_t crc32_of(const uint8_t *data, size_t size) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
  }
  return ~crc;
}

static size_t attribute(uint8_t *message, size_t size, uint16_t type, const void *value, size_t value_size) {
  put16(message + size, type);
  put16(message + size + 2, (uint32_t)value_size);
  memcpy(message + size + 4, value, value_size);
  size_t padded = (value_size + 3) & ~(size_t)3;
  memset(message + size + 4 + value_size, 0, padded - value_size);
  return size + 4 + padded;
}

static size_t seal(uint8_t *message, size_t size, const char *password) {
  uint8_t digest[20];
  put16(message + 2, (uint32_t)(size - 20 + 24));
  HMAC(EVP_sha1(), password, (int)strlen(password), message, size, digest, NULL);
  size = attribute(message, size, ATTRIBUTE_INTEGRITY, digest, sizeof digest);
  put16(message + 2, (uint32_t)(size - 20 + 8));
  uint8_t crc[4];
  put32(crc, crc32_of(message, size) ^ 0x5354554eu);
  return attribute(message, size, ATTRIBUTE_FINGERPRINT, crc, sizeof crc);
}

static void send_check(peer *p, const struct sockaddr_in *to) {
  uint8_t message[512], tie_breaker[8] = {1, 2, 3, 4, 5, 6, 7, 8}, priority[4];
  char username[132];
  put16(message, BINDING_REQUEST);
  put32(message + 4, MAGIC_COOKIE);
  memcpy(message + 8, p->check_tag, 8);
  put32(message + 16, p->check_count++);
  int length = snprintf(username, sizeof username, "%s:%s", p->remote_ufrag, p->ufrag);
  put32(priority, 0x6e7f1eff);
  size_t size = attribute(message, 20, ATTRIBUTE_USERNAME, username, (size_t)length);
  size = attribute(message, size, ATTRIBUTE_CONTROLLING, tie_breaker, 8);
  size = attribute(message, size, ATTRIBUTE_USE_CANDIDATE, "", 0);
  size = attribute(message, size, ATTRIBUTE_PRIORITY, priority, 4);
  send_datagram(p, to, message, seal(message, size, p->remote_password));
}

static void answer_check(peer *p, const struct sockaddr_in *from, const uint8_t *request) {
  uint8_t message[256], mapped[8] = {0, 1};
  put16(message, BINDING_SUCCESS);
  memcpy(message + 4, request + 4, 16);
  put16(mapped + 2, (uint32_t)(ntohs(from->sin_port) ^ (MAGIC_COOKIE >> 16)));
  put32(mapped + 4, ntohl(from->sin_addr.s_addr) ^ MAGIC_COOKIE);
  size_t size = attribute(message, 20, ATTRIBUTE_MAPPED, mapped, 8);
  send_datagram(p, from, message, seal(message, size, p->password));
}

static void set_state(peer *p, ice_state state, const char *name) {
  if (p->ice == state) return;
  p->ice = state;
  event("ice %u state=%s address=%s port=%u", p->id, name, inet_ntoa(p->remote.sin_addr), ntohs(p->remote.sin_port));
}

static void add_candidates(peer *p, char *list) {
  char *rest = NULL;
  p->candidate_count = 0;
  for (char *one = strtok_r(list, ",", &rest); one && p->candidate_count < MAX_CANDIDATES; one = strtok_r(NULL, ",", &rest)) {
    char *colon = strrchr(one, ':');
    struct sockaddr_in *address = &p->candidates[p->candidate_count];
    if (!colon) continue;
    *colon = 0;
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, one, &address->sin_addr) == 1) p->candidate_count++;
  }
}

/* First description, or an ICE restart: until the new credentials are answered, media keeps flowing on the old pair. */
void ice_set_remote(peer *p, const command *c, uint64_t now) {
  char list[1024];
  if (*field(c, "ufrag")) {
    text_field(c, "ufrag", p->ufrag, sizeof p->ufrag);
    text_field(c, "password", p->password, sizeof p->password);
  }
  text_field(c, "remote_ufrag", p->remote_ufrag, sizeof p->remote_ufrag);
  text_field(c, "remote_password", p->remote_password, sizeof p->remote_password);
  text_field(c, "candidates", list, sizeof list);
  add_candidates(p, list);
  random_bytes(p->check_tag, sizeof p->check_tag);
  p->ice = ICE_CHECKING;
  p->check_interval_us = FIRST_INTERVAL_US;
  p->check_started_us = now;
  p->next_check_us = now;
  ice_tick(p, now);
}

static int error_code(const uint8_t *data, size_t size) {
  for (size_t at = 20; at + 4 <= size;) {
    size_t length = get16(data + at + 2);
    if (get16(data + at) == ATTRIBUTE_ERROR_CODE && length >= 4 && at + 8 <= size) return (data[at + 6] & 7) * 100 + data[at + 7];
    at += 4 + ((length + 3) & ~(size_t)3);
  }
  return 0;
}

void ice_input(peer *p, const struct sockaddr_in *from, uint8_t *data, size_t size, uint64_t now) {
  if (size < 20 || get32(data + 4) != MAGIC_COOKIE) return;
  uint16_t type = get16(data);
  if (type == BINDING_REQUEST) {
    answer_check(p, from, data);
    return;
  }
  if (memcmp(data + 8, p->check_tag, 8)) return;
  if (type == BINDING_ERROR) {
    event("problem %u what=ice-refused code=%d", p->id, error_code(data, size));
    return;
  }
  if (type != BINDING_SUCCESS) return;
  p->heard_us = now;
  if (p->ice != ICE_CONNECTED) {
    p->remote = *from;
    p->next_check_us = now + CONSENT_INTERVAL_US;
    set_state(p, ICE_CONNECTED, "connected");
    dtls_start(p);
  }
}

void ice_tick(peer *p, uint64_t now) {
  if (p->ice == ICE_NEW || p->ice == ICE_FAILED || now < p->next_check_us) return;
  if (p->ice == ICE_CHECKING) {
    for (int i = 0; i < p->candidate_count; i++) send_check(p, &p->candidates[i]);
    p->next_check_us = now + p->check_interval_us;
    if (p->check_interval_us < LONGEST_INTERVAL_US) p->check_interval_us *= 2;
    if (now - p->check_started_us > FAIL_AFTER_US) set_state(p, ICE_FAILED, "failed");
    return;
  }
  send_check(p, &p->remote);
  bool lost = now - p->heard_us > LOST_AFTER_US;
  p->next_check_us = now + (lost ? LOST_INTERVAL_US : CONSENT_INTERVAL_US);
  if (lost) set_state(p, ICE_DISCONNECTED, "disconnected");
  if (now - p->heard_us > LOST_AFTER_US + FAIL_AFTER_US) set_state(p, ICE_FAILED, "failed");
}
