#pragma once
// libwebrtc uses four headers of abseil, all of which C++20 has. With all four here, none of abseil's own is ever read.
#include <optional>

namespace absl
{
	template<typename T>
	using optional = std::optional<T>;
	using std::make_optional;
	using std::nullopt;
	using std::nullopt_t;
} // namespace absl
