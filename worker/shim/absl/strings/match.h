#pragma once
// See absl/types/optional.h.
#include <absl/strings/string_view.h>

namespace absl
{
	inline bool StartsWith(string_view text, string_view prefix)
	{
		return text.starts_with(prefix);
	}

	inline bool EndsWith(string_view text, string_view suffix)
	{
		return text.ends_with(suffix);
	}

	inline bool StrContains(string_view text, string_view part)
	{
		return text.find(part) != string_view::npos;
	}
} // namespace absl
