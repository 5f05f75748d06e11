#pragma once
// mediasoup uses the hash containers of ankerl::unordered_dense, which Debian 12 does not package. These are our own, with
// the same names and the properties that mediasoup relies on:
// - Values lie in one vector in order of insertion, so that iterating is fast and deterministic.
// - erase() moves the last value into the gap and returns an iterator to that place, so that a loop can go on from there.
// - Inserting may move values: no pointer or iterator into a container survives it.
// Beside the vector there is an index of (position + 1, hash) pairs with linear probing. Its size is a power of two, it is
// at most two thirds full, and erasing shifts the rest of a run back instead of leaving tombstones.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace ankerl::unordered_dense
{
	template<typename T>
	struct hash
	{
		uint64_t operator()(const T& value) const noexcept(noexcept(std::hash<T>{}(value)))
		{
			return std::hash<T>{}(value);
		}
	};

	namespace detail
	{
		// Value is `void` for a set.
		template<typename Key, typename Value, typename Hash, typename Equal>
		class table
		{
			static constexpr bool IsMap = !std::is_void_v<Value>;

		public:
			using key_type       = Key;
			using value_type     = typename std::conditional_t<
			      IsMap,
			      std::type_identity<std::pair<Key, std::conditional_t<IsMap, Value, char>>>,
			      std::type_identity<Key>>::type;
			using size_type      = size_t;
			using iterator       = typename std::vector<value_type>::iterator;
			using const_iterator = typename std::vector<value_type>::const_iterator;

			table() = default;

			table(std::initializer_list<value_type> values)
			{
				reserve(values.size());
				insert(values.begin(), values.end());
			}

			template<typename Iterator>
			table(Iterator first, Iterator last)
			{
				insert(first, last);
			}

			table(const table&)            = default;
			table& operator=(const table&) = default;

			// Moved-from containers must be empty in both parts, which a defaulted move does not promise.
			table(table&& other) noexcept
			  : values(std::exchange(other.values, {})), slots(std::exchange(other.slots, {}))
			{
			}

			table& operator=(table&& other) noexcept
			{
				if (this != std::addressof(other))
				{
					values = std::exchange(other.values, {});
					slots  = std::exchange(other.slots, {});
				}
				return *this;
			}

			iterator begin() noexcept { return values.begin(); }
			iterator end() noexcept { return values.end(); }
			const_iterator begin() const noexcept { return values.begin(); }
			const_iterator end() const noexcept { return values.end(); }
			const_iterator cbegin() const noexcept { return values.begin(); }
			const_iterator cend() const noexcept { return values.end(); }

			bool empty() const noexcept { return values.empty(); }
			size_t size() const noexcept { return values.size(); }

			void clear() noexcept
			{
				values.clear();
				slots.assign(slots.size(), Slot{});
			}

			void reserve(size_t count)
			{
				values.reserve(count);
				if (!fits(count))
				{
					rebuild(count);
				}
			}

			iterator find(const Key& key)
			{
				const size_t slot = locate(key, hashOf(key));
				return slot == None ? end() : begin() + static_cast<ptrdiff_t>(slots[slot].position - 1);
			}

			const_iterator find(const Key& key) const
			{
				const size_t slot = locate(key, hashOf(key));
				return slot == None ? end() : begin() + static_cast<ptrdiff_t>(slots[slot].position - 1);
			}

			bool contains(const Key& key) const { return locate(key, hashOf(key)) != None; }
			size_t count(const Key& key) const { return contains(key) ? 1 : 0; }

			std::pair<iterator, bool> insert(const value_type& value) { return add(value_type(value)); }
			std::pair<iterator, bool> insert(value_type&& value) { return add(std::move(value)); }

			template<typename Iterator>
			void insert(Iterator first, Iterator last)
			{
				for (; first != last; ++first)
				{
					add(value_type(*first));
				}
			}

			template<typename... Args>
			std::pair<iterator, bool> emplace(Args&&... args)
			{
				return add(value_type(std::forward<Args>(args)...));
			}

			// Builds the mapped value only when the key is new.
			template<typename K, typename... Args>
			std::pair<iterator, bool> try_emplace(K&& key, Args&&... args)
			{
				if (auto it = find(key); it != end())
				{
					return { it, false };
				}
				return add(value_type(
				  std::piecewise_construct,
				  std::forward_as_tuple(std::forward<K>(key)),
				  std::forward_as_tuple(std::forward<Args>(args)...)));
			}

			template<typename K = Key>
			auto& operator[](const Key& key)
			  requires IsMap
			{
				return try_emplace(key).first->second;
			}

			template<typename K = Key>
			auto& at(const Key& key)
			  requires IsMap
			{
				return existing(find(key), end())->second;
			}

			template<typename K = Key>
			const auto& at(const Key& key) const
			  requires IsMap
			{
				return existing(find(key), end())->second;
			}

			iterator erase(const_iterator it)
			{
				const auto position = static_cast<size_t>(it - cbegin());
				remove(slotOf(position));
				return begin() + static_cast<ptrdiff_t>(position);
			}

			iterator erase(iterator it) { return erase(const_iterator(it)); }

			size_t erase(const Key& key)
			{
				const size_t slot = locate(key, hashOf(key));
				if (slot == None)
				{
					return 0;
				}
				remove(slot);
				return 1;
			}

			void swap(table& other) noexcept
			{
				values.swap(other.values);
				slots.swap(other.slots);
			}

			friend bool operator==(const table& a, const table& b)
			{
				if (a.size() != b.size())
				{
					return false;
				}
				for (const auto& value : a)
				{
					const auto it = b.find(keyOf(value));
					if (it == b.end() || !(*it == value))
					{
						return false;
					}
				}
				return true;
			}

		private:
			struct Slot
			{
				// Position in `values` plus one; zero marks a free slot.
				uint32_t position{ 0 };
				uint32_t hash{ 0 };
			};

			static constexpr size_t None = SIZE_MAX;

			static const Key& keyOf(const value_type& value)
			{
				if constexpr (IsMap)
				{
					return value.first;
				}
				else
				{
					return value;
				}
			}

			// std::hash of integers and pointers is the identity: a multiplication spreads it over the upper bits.
			static uint32_t hashOf(const Key& key)
			{
				return static_cast<uint32_t>((static_cast<uint64_t>(Hash{}(key)) * 0x9E3779B97F4A7C15ull) >> 32);
			}

			template<typename Iterator>
			static Iterator existing(Iterator it, Iterator end)
			{
				if (it == end)
				{
					throw std::out_of_range("unordered_dense: no such key");
				}
				return it;
			}

			size_t mask() const { return slots.size() - 1; }
			bool fits(size_t count) const { return count * 3 <= slots.size() * 2; }

			size_t locate(const Key& key, uint32_t hash) const
			{
				if (values.empty())
				{
					return None;
				}
				for (size_t i = hash & mask(); slots[i].position != 0; i = (i + 1) & mask())
				{
					if (slots[i].hash == hash && Equal{}(keyOf(values[slots[i].position - 1]), key))
					{
						return i;
					}
				}
				return None;
			}

			// The slot that refers to an occupied position.
			size_t slotOf(size_t position) const
			{
				size_t i = hashOf(keyOf(values[position])) & mask();
				while (slots[i].position != position + 1)
				{
					i = (i + 1) & mask();
				}
				return i;
			}

			void occupy(uint32_t hash, uint32_t position)
			{
				size_t i = hash & mask();
				while (slots[i].position != 0)
				{
					i = (i + 1) & mask();
				}
				slots[i] = { position, hash };
			}

			void rebuild(size_t count)
			{
				size_t size = slots.empty() ? 8 : slots.size();
				while (count * 3 > size * 2)
				{
					size *= 2;
				}
				slots.assign(size, Slot{});
				for (size_t i = 0; i < values.size(); ++i)
				{
					occupy(hashOf(keyOf(values[i])), static_cast<uint32_t>(i + 1));
				}
			}

			std::pair<iterator, bool> add(value_type&& value)
			{
				const uint32_t hash = hashOf(keyOf(value));
				if (const size_t slot = locate(keyOf(value), hash); slot != None)
				{
					return { begin() + static_cast<ptrdiff_t>(slots[slot].position - 1), false };
				}
				if (!fits(values.size() + 1))
				{
					rebuild(values.size() + 1);
				}
				values.push_back(std::move(value));
				occupy(hash, static_cast<uint32_t>(values.size()));
				return { end() - 1, true };
			}

			void remove(size_t slot)
			{
				const size_t position = slots[slot].position - 1;
				const size_t last     = values.size() - 1;
				if (position != last)
				{
					slots[slotOf(last)].position = static_cast<uint32_t>(position + 1);
					std::swap(values[position], values[last]);
				}
				release(slot);
				// The value goes last: its destructor may look into this container.
				values.pop_back();
			}

			void release(size_t gap)
			{
				for (size_t i = (gap + 1) & mask(); slots[i].position != 0; i = (i + 1) & mask())
				{
					const size_t ideal = slots[i].hash & mask();
					if (((i - ideal) & mask()) >= ((i - gap) & mask()))
					{
						slots[gap] = slots[i];
						gap        = i;
					}
				}
				slots[gap] = Slot{};
			}

			std::vector<value_type> values;
			std::vector<Slot> slots;
		};
	} // namespace detail

	template<typename Key, typename Value, typename Hash = hash<Key>, typename Equal = std::equal_to<Key>>
	using map = detail::table<Key, Value, Hash, Equal>;

	template<typename Key, typename Hash = hash<Key>, typename Equal = std::equal_to<Key>>
	using set = detail::table<Key, void, Hash, Equal>;
} // namespace ankerl::unordered_dense
