#pragma once
// See absl/types/optional.h.
#include <memory>

namespace absl
{
	using std::make_unique;

	template<typename T>
	std::unique_ptr<T> WrapUnique(T* pointer)
	{
		return std::unique_ptr<T>(pointer);
	}
} // namespace absl
