// Packets as the worker writes them, with the numbers of a client. Built with sanitizers by client-numbers.test.ts from
// the header that the patch adds; what that header needs of mediasoup is here in small.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace RTC
{
	struct Parameters
	{
		std::map<std::string, int32_t> integers;
		bool HasInteger(const std::string& key) const
		{
			return integers.contains(key);
		}
		int32_t GetInteger(const std::string& key) const
		{
			return integers.at(key);
		}
	};
	struct RtpHeaderExtensionUri
	{
		enum class Type : uint8_t
		{
			MID                   = 1,
			ABS_SEND_TIME         = 4,
			TRANSPORT_WIDE_CC_01  = 5,
			DEPENDENCY_DESCRIPTOR = 7
		};
	};
	struct RtpCodecParameters
	{
		uint8_t payloadType;
		Parameters parameters;
	};
	struct RtpHeaderExtensionParameters
	{
		RtpHeaderExtensionUri::Type type;
		Parameters parameters;
	};
	struct RtpParameters
	{
		std::vector<RtpCodecParameters> codecs;
		std::vector<RtpHeaderExtensionParameters> headerExtensions;
	};
} // namespace RTC

#include "RTC/ClientNumbers.hpp"

#define CHECK(condition)                                                                                                 \
	do                                                                                                                     \
	{                                                                                                                      \
		if (!(condition))                                                                                                    \
		{                                                                                                                    \
			std::fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition);                                         \
			std::exit(1);                                                                                                      \
		}                                                                                                                    \
	} while (false)

using Type  = RTC::RtpHeaderExtensionUri::Type;
using Bytes = std::vector<uint8_t>;

static RTC::Parameters number(int32_t value)
{
	return { { { RTC::ClientNumbers::Key, value } } };
}

static Bytes renumber(const RTC::ClientNumbers& numbers, const Bytes& packet)
{
	const uint8_t* data = numbers.Apply(packet.data(), packet.size());
	return Bytes(data, data + packet.size());
}

// Marker set, one CSRC, payload type 101, then the extensions.
static Bytes packet(uint16_t profile, const Bytes& extensions)
{
	Bytes bytes{ 0x91, 0x80 | 101, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9 };
	const auto words = static_cast<uint16_t>(extensions.size() / 4);
	for (const uint16_t value : { profile, words })
	{
		bytes.push_back(static_cast<uint8_t>(value >> 8));
		bytes.push_back(static_cast<uint8_t>(value & 0xFF));
	}
	bytes.insert(bytes.end(), extensions.begin(), extensions.end());
	bytes.push_back(0xAA);
	return bytes;
}

int main()
{
	RTC::ClientNumbers none;
	none.Read({ { { 101, {} } }, { { Type::MID, {} } } });
	CHECK(!none.AreGiven());

	RTC::ClientNumbers numbers;
	numbers.Read(
	  { { { 101, number(96) }, { 102, number(101) } },
	    { { Type::MID, number(4) }, { Type::TRANSPORT_WIDE_CC_01, number(3) }, { Type::ABS_SEND_TIME, {} } } });
	CHECK(numbers.AreGiven());
	CHECK(numbers.HaveTransportWideCc());
	CHECK(!none.HaveTransportWideCc());

	// One byte: mid (padded), abs-send-time, which has no number, transport-cc.
	const Bytes one = renumber(
	  numbers, packet(0xBEDE, { 0x11, 'a', 'b', 0, 0x42, 1, 2, 3, 0x51, 7, 8, 0 }));
	CHECK(one == [] {
		Bytes expected = packet(0xBEDE, { 0x41, 'a', 'b', 0, 0, 0, 0, 0, 0x31, 7, 8, 0 });
		expected[1]    = 0x80 | 96;
		return expected;
	}());

	// Two bytes: a descriptor without a number, mid, an id that no table has.
	const Bytes two = renumber(numbers, packet(0x1000, { 7, 2, 5, 5, 1, 1, 'a', 0, 200, 2, 6, 6 }));
	CHECK(two == [] {
		Bytes expected = packet(0x1000, { 0, 0, 0, 0, 4, 1, 'a', 0, 0, 0, 0, 0 });
		expected[1]    = 0x80 | 96;
		return expected;
	}());

	// Another form of extension, none at all, lengths that lie: nothing is read or written beyond the packet.
	CHECK(renumber(numbers, packet(0x2000, { 0x11, 1, 1, 1 }))[20] == 0x11);
	CHECK((renumber(numbers, { 0x80, 102, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3 })[1]) == 101);
	CHECK(renumber(numbers, { 0x90, 101, 0 }) == (Bytes{ 0x90, 101, 0 }));
	CHECK(renumber(numbers, { 0x9F, 101, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3 })[1] == 96);
	CHECK(renumber(numbers, { 0x90, 101, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xBE, 0xDE, 0xFF, 0xFF, 0x1F, 1 })[16] == 0x4F);
	CHECK(renumber(numbers, { 0x90, 101, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0x00, 0xFF, 0xFF, 1 })[16] == 1);
}
