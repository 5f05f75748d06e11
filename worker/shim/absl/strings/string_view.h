#pragma once
// See absl/types/optional.h.
#include <string_view>

namespace absl
{
	using std::string_view;
} // namespace absl
