/*
 * DTLS 1.2 over the selected ICE pair and the SRTP keys that come out of it (RFC 5764). One ECDSA certificate serves the
 * whole process. A BIO of our own keeps datagram borders, which memory BIOs of OpenSSL 3.0 do not.
 */
#include "endpoint.h"

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATAGRAM_BYTES 1200

static SSL_CTX *context;
static BIO_METHOD *datagrams;
static char fingerprint[100];

static int datagram_write(BIO *bio, const char *data, int size) {
  peer *p = BIO_get_data(bio);
  send_datagram(p, &p->remote, data, (size_t)size);
  return size;
}

static int datagram_read(BIO *bio, char *out, int size) {
  peer *p = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (!p->dtls_in_size) {
    BIO_set_retry_read(bio);
    return -1;
  }
  size_t taken = p->dtls_in_size < (size_t)size ? p->dtls_in_size : (size_t)size;
  memcpy(out, p->dtls_in, taken);
  p->dtls_in_size = 0;
  return (int)taken;
}

static long datagram_control(BIO *bio, int what, long value, void *pointer) {
  (void)bio, (void)value, (void)pointer;
  switch (what) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
      return DATAGRAM_BYTES;
    default:
      return 0; /* Among them "is kernel TLS on?", which must not be affirmed. */
  }
}

static int accept_any_certificate(int preverified, X509_STORE_CTX *store) {
  (void)preverified, (void)store;
  return 1; /* Certificates are self-signed; the fingerprint of the description is what counts. */
}

static void print_fingerprint(X509 *certificate, char *out) {
  uint8_t digest[32];
  unsigned size = 0;
  X509_digest(certificate, EVP_sha256(), digest, &size);
  for (unsigned i = 0; i < size; i++) sprintf(out + 3 * i, "%02X%s", digest[i], i + 1 < size ? ":" : "");
}

void dtls_init(const char *srtp_profiles) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *certificate = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -86400);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86400 * 30L);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const uint8_t *)"light", -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  X509_sign(certificate, key, EVP_sha256());
  print_fingerprint(certificate, fingerprint);

  context = SSL_CTX_new(DTLS_method());
  if (!context || SSL_CTX_use_certificate(context, certificate) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1 ||
      SSL_CTX_set_tlsext_use_srtp(context, srtp_profiles) != 0) {
    ERR_print_errors_fp(stderr);
    exit(2);
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any_certificate);
  SSL_CTX_set_options(context, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(context, 1);
  X509_free(certificate);
  EVP_PKEY_free(key);

  datagrams = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagrams");
  BIO_meth_set_write(datagrams, datagram_write);
  BIO_meth_set_read(datagrams, datagram_read);
  BIO_meth_set_ctrl(datagrams, datagram_control);
}

const char *dtls_fingerprint(void) { return fingerprint; }

static void fail(peer *p, const char *why) {
  p->dtls_gone = true;
  ERR_clear_error();
  event("dtls %u state=failed why=%s", p->id, why);
}

static srtp_t srtp_session(const uint8_t *key, size_t key_size, const uint8_t *salt, size_t salt_size, unsigned long profile, bool inbound) {
  uint8_t both[64];
  srtp_policy_t policy;
  srtp_t session = NULL;
  memset(&policy, 0, sizeof policy);
  memcpy(both, key, key_size);
  memcpy(both + key_size, salt, salt_size);
  srtp_profile_t kind = profile == SRTP_AEAD_AES_256_GCM   ? srtp_profile_aead_aes_256_gcm
                        : profile == SRTP_AEAD_AES_128_GCM ? srtp_profile_aead_aes_128_gcm
                                                           : srtp_profile_aes128_cm_sha1_80;
  srtp_crypto_policy_set_from_profile_for_rtp(&policy.rtp, kind);
  srtp_crypto_policy_set_from_profile_for_rtcp(&policy.rtcp, kind);
  policy.ssrc.type = inbound ? ssrc_any_inbound : ssrc_any_outbound;
  policy.key = both;
  policy.window_size = 1024;
  return srtp_create(&session, &policy) == srtp_err_status_ok ? session : NULL;
}

static void drop_srtp_keys(peer *p) {
  if (p->srtp_in) srtp_dealloc(p->srtp_in);
  if (p->srtp_out) srtp_dealloc(p->srtp_out);
  p->srtp_in = p->srtp_out = NULL;
}

static bool take_srtp_keys(peer *p) {
  uint8_t material[2 * (32 + 14)];
  SRTP_PROTECTION_PROFILE *profile = SSL_get_selected_srtp_profile(p->ssl);
  if (!profile) return false;
  size_t key = profile->id == SRTP_AEAD_AES_256_GCM ? 32 : 16;
  size_t salt = profile->id == SRTP_AES128_CM_SHA1_80 ? 14 : 12;
  if (SSL_export_keying_material(p->ssl, material, 2 * (key + salt), "EXTRACTOR-dtls_srtp", 19, NULL, 0, 0) != 1) return false;
  const uint8_t *client_key = material, *server_key = material + key, *client_salt = server_key + key, *server_salt = client_salt + salt;
  bool client = p->dtls_client;
  drop_srtp_keys(p);
  p->srtp_out = srtp_session(client ? client_key : server_key, key, client ? client_salt : server_salt, salt, profile->id, false);
  p->srtp_in = srtp_session(client ? server_key : client_key, key, client ? server_salt : client_salt, salt, profile->id, true);
  return p->srtp_in && p->srtp_out;
}

static bool fingerprint_matches(peer *p) {
  char seen[100];
  X509 *certificate = SSL_get1_peer_certificate(p->ssl);
  if (!certificate) return false;
  print_fingerprint(certificate, seen);
  X509_free(certificate);
  return !*p->remote_fingerprint || !strcasecmp(seen, p->remote_fingerprint);
}

static void handshake(peer *p) {
  int result = SSL_do_handshake(p->ssl);
  if (result != 1) {
    int error = SSL_get_error(p->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) fail(p, "handshake");
    return;
  }
  if (!fingerprint_matches(p)) return fail(p, "fingerprint");
  if (!take_srtp_keys(p)) return fail(p, "srtp");
  p->dtls_up = true;
  event("dtls %u state=connected profile=%s", p->id, SSL_get_selected_srtp_profile(p->ssl)->name);
  if (p->sctp_wanted) data_start(p);
}

/*
 * Another certificate than before means another handshake, which begins when the new description's pair answers (RFC 8842
 * section 5.5). Until it ends, media still comes in under the old keys and none goes out; the SCTP association is lost
 * while its channels stay, as in libwebrtc.
 */
void dtls_expect(peer *p, const char *fingerprint) {
  if (p->ssl && *p->remote_fingerprint && strcasecmp(p->remote_fingerprint, fingerprint)) p->dtls_outdated = true;
  strncpy(p->remote_fingerprint, fingerprint, sizeof p->remote_fingerprint - 1);
}

static void forget_connection(peer *p) {
  p->dtls_up = p->dtls_gone = p->dtls_outdated = false;
  data_break(p);
  SSL_free(p->ssl);
  p->ssl = NULL;
  ERR_clear_error();
}

void dtls_start(peer *p) {
  if (p->ssl && p->dtls_outdated) forget_connection(p);
  if (p->ssl || p->dtls_gone) return;
  BIO *bio = BIO_new(datagrams);
  BIO_set_data(bio, p);
  BIO_set_init(bio, 1);
  p->ssl = SSL_new(context);
  SSL_set_bio(p->ssl, bio, bio);
  SSL_set_mtu(p->ssl, DATAGRAM_BYTES);
  if (!p->dtls_client) {
    SSL_set_accept_state(p->ssl);
    return;
  }
  SSL_set_connect_state(p->ssl);
  handshake(p);
}

void dtls_input(peer *p, const uint8_t *data, size_t size) {
  static uint8_t plain[16384];
  if (!p->ssl || p->dtls_gone) return;
  p->dtls_in = data;
  p->dtls_in_size = size;
  if (!p->dtls_up) handshake(p);
  while (p->dtls_up && !p->dtls_gone) {
    int read = SSL_read(p->ssl, plain, sizeof plain);
    if (read > 0) {
      data_input(p, plain, (size_t)read);
      continue;
    }
    int error = SSL_get_error(p->ssl, read);
    if (error == SSL_ERROR_ZERO_RETURN) {
      p->dtls_gone = true;
      event("dtls %u state=closed", p->id);
    } else if (error != SSL_ERROR_WANT_READ) {
      fail(p, "read");
    }
    break;
  }
  p->dtls_in_size = 0;
  ERR_clear_error();
}

void dtls_tick(peer *p) {
  if (!p->ssl || p->dtls_up || p->dtls_gone) return;
  struct timeval left;
  if (DTLSv1_get_timeout(p->ssl, &left) && left.tv_sec == 0 && left.tv_usec == 0 && DTLSv1_handle_timeout(p->ssl) < 0)
    fail(p, "timeout");
}

void dtls_send(peer *p, const void *data, size_t size) {
  if (!p->dtls_up || p->dtls_gone) return;
  SSL_write(p->ssl, data, (int)size);
  ERR_clear_error();
}

void dtls_free(peer *p, bool say_goodbye) {
  if (p->ssl) {
    if (say_goodbye && p->dtls_up && !p->dtls_gone) SSL_shutdown(p->ssl);
    SSL_free(p->ssl);
    ERR_clear_error();
  }
  drop_srtp_keys(p);
}
