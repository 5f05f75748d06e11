#pragma once
// mediasoup 3.27 is written against libsrtp 3; Debian 12 has libsrtp 2. This header gives libsrtp 2 the part of the newer
// interface that mediasoup uses:
// - a policy is an opaque object with setters (in libsrtp 2 a struct that the caller fills in);
// - (un)protect reads one buffer and writes another (in libsrtp 2 it works in place and trusts the caller for space);
// - two error codes are new.
#include <srtp2/srtp.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

inline constexpr auto srtp_err_status_buffer_small = static_cast<srtp_err_status_t>(28);
inline constexpr auto srtp_err_status_cryptex_err  = static_cast<srtp_err_status_t>(29);

struct plenum_srtp_policy
{
	srtp_policy_t v2{};
	uint8_t key[SRTP_MAX_KEY_LEN]{};
};

using plenum_srtp_policy_t = plenum_srtp_policy*;

inline srtp_err_status_t srtp_policy_create(plenum_srtp_policy_t* policy)
{
	*policy = new (std::nothrow) plenum_srtp_policy();
	return *policy == nullptr ? srtp_err_status_alloc_fail : srtp_err_status_ok;
}

inline void srtp_policy_destroy(plenum_srtp_policy_t policy)
{
	if (policy != nullptr)
	{
		explicit_bzero(policy->key, sizeof(policy->key));
		delete policy;
	}
}

inline srtp_err_status_t srtp_policy_set_ssrc(plenum_srtp_policy_t policy, srtp_ssrc_t ssrc)
{
	policy->v2.ssrc = ssrc;
	return srtp_err_status_ok;
}

inline srtp_err_status_t srtp_policy_set_profile(plenum_srtp_policy_t policy, srtp_profile_t profile)
{
	const auto status = srtp_crypto_policy_set_from_profile_for_rtp(&policy->v2.rtp, profile);
	return status != srtp_err_status_ok ? status
	                                    : srtp_crypto_policy_set_from_profile_for_rtcp(&policy->v2.rtcp, profile);
}

// Master key identifiers (MKI) are not in use in WebRTC.
inline srtp_err_status_t srtp_policy_add_key(
  plenum_srtp_policy_t policy,
  const uint8_t* key,
  size_t keyLength,
  const uint8_t* salt,
  size_t saltLength,
  const uint8_t* /*mki*/,
  size_t mkiLength)
{
	if (mkiLength != 0 || keyLength + saltLength > sizeof(policy->key))
	{
		return srtp_err_status_bad_param;
	}
	std::memcpy(policy->key, key, keyLength);
	std::memcpy(policy->key + keyLength, salt, saltLength);
	policy->v2.key = policy->key;
	return srtp_err_status_ok;
}

inline srtp_err_status_t srtp_policy_set_allow_repeat_tx(plenum_srtp_policy_t policy, bool allow)
{
	policy->v2.allow_repeat_tx = allow ? 1 : 0;
	return srtp_err_status_ok;
}

inline srtp_err_status_t srtp_policy_set_window_size(plenum_srtp_policy_t policy, size_t packets)
{
	policy->v2.window_size = packets;
	return srtp_err_status_ok;
}

inline srtp_err_status_t srtp_create(srtp_t* session, plenum_srtp_policy_t policy)
{
	return srtp_create(session, &policy->v2);
}

// Both libraries take the SSRC in network order here.
inline srtp_err_status_t srtp_stream_remove(srtp_t session, uint32_t ssrc)
{
	return srtp_remove_stream(session, ssrc);
}

// Runs an in-place function of libsrtp 2 from one buffer to another. `growth` is what it may append at most.
template<typename Function>
inline srtp_err_status_t plenum_srtp_apply(
  Function function, srtp_t session, const uint8_t* in, size_t inLength, uint8_t* out, size_t* outLength, size_t growth)
{
	if (inLength > INT32_MAX - growth || inLength + growth > *outLength)
	{
		return srtp_err_status_buffer_small;
	}
	if (in != out)
	{
		std::memmove(out, in, inLength);
	}
	int length        = static_cast<int>(inLength);
	const auto status = function(session, out, &length);
	if (status == srtp_err_status_ok)
	{
		*outLength = static_cast<size_t>(length);
	}
	return status;
}

inline srtp_err_status_t srtp_protect(
  srtp_t session, const uint8_t* in, size_t inLength, uint8_t* out, size_t* outLength, size_t /*mkiIndex*/)
{
	using Function = srtp_err_status_t (*)(srtp_t, void*, int*);
	return plenum_srtp_apply(static_cast<Function>(srtp_protect), session, in, inLength, out, outLength, SRTP_MAX_TAG_LEN);
}

inline srtp_err_status_t srtp_unprotect(
  srtp_t session, const uint8_t* in, size_t inLength, uint8_t* out, size_t* outLength)
{
	using Function = srtp_err_status_t (*)(srtp_t, void*, int*);
	return plenum_srtp_apply(static_cast<Function>(srtp_unprotect), session, in, inLength, out, outLength, 0);
}

// SRTCP appends a 4-byte index beside the tag (RFC 3711, section 3.4).
inline srtp_err_status_t srtp_protect_rtcp(
  srtp_t session, const uint8_t* in, size_t inLength, uint8_t* out, size_t* outLength, size_t /*mkiIndex*/)
{
	using Function = srtp_err_status_t (*)(srtp_t, void*, int*);
	return plenum_srtp_apply(
	  static_cast<Function>(srtp_protect_rtcp), session, in, inLength, out, outLength, SRTP_MAX_TAG_LEN + 4);
}

inline srtp_err_status_t srtp_unprotect_rtcp(
  srtp_t session, const uint8_t* in, size_t inLength, uint8_t* out, size_t* outLength)
{
	using Function = srtp_err_status_t (*)(srtp_t, void*, int*);
	return plenum_srtp_apply(static_cast<Function>(srtp_unprotect_rtcp), session, in, inLength, out, outLength, 0);
}

// From here on the name means the pointer, as in libsrtp 3.
#define srtp_policy_t plenum_srtp_policy_t
