// Random operations on our containers and on the standard library's side by side. Built with sanitizers by
// shims.test.ts; ends with a message and exit code 1 at the first difference.
#include <ankerl/unordered_dense.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <unordered_set>

#define CHECK(condition)                                                                                                 \
	do                                                                                                                     \
	{                                                                                                                      \
		if (!(condition))                                                                                                    \
		{                                                                                                                    \
			std::fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition);                                         \
			std::exit(1);                                                                                                      \
		}                                                                                                                    \
	} while (false)

using Map  = ankerl::unordered_dense::map<uint32_t, std::string>;
using Twin = std::unordered_map<uint32_t, std::string>;

static void checkSame(const Map& map, const Twin& twin)
{
	CHECK(map.size() == twin.size());
	CHECK(map.empty() == twin.empty());
	size_t seen = 0;
	for (const auto& [key, value] : map)
	{
		CHECK(twin.at(key) == value);
		CHECK(map.at(key) == value);
		++seen;
	}
	CHECK(seen == twin.size());
}

// As mediasoup does it in several loops: erase() gives the place where to go on, and every value is visited once.
static void eraseWhileIterating(Map& map, Twin& twin, uint32_t modulus)
{
	size_t visited = 0;
	const size_t total = map.size();
	for (auto it = map.begin(); it != map.end(); ++visited)
	{
		if (it->first % modulus == 0)
		{
			twin.erase(it->first);
			it = map.erase(it);
		}
		else
		{
			++it;
		}
	}
	CHECK(visited == total);
}

static void step(Map& map, Twin& twin, std::mt19937& random, uint32_t keys)
{
	// Multiples of a power of two collide in a table that takes the low bits of a poor hash.
	const uint32_t key      = (random() % keys) * 1024;
	const std::string value = std::to_string(random());
	switch (random() % 12)
	{
		case 0:
		case 1:
			CHECK(map.emplace(key, value).second == twin.emplace(key, value).second);
			break;
		case 2:
			CHECK(map.try_emplace(key, value).second == twin.try_emplace(key, value).second);
			break;
		case 3:
			map[key] = value;
			twin[key] = value;
			break;
		case 4:
			CHECK(map.insert({ key, value }).first->second == twin.insert({ key, value }).first->second);
			break;
		case 5:
		case 6:
		case 7:
			CHECK(map.erase(key) == twin.erase(key));
			break;
		case 8:
			CHECK(map.contains(key) == twin.contains(key));
			CHECK(map.count(key) == twin.count(key));
			break;
		case 9:
			if (auto it = map.find(key); it != map.end())
			{
				CHECK(it->second == twin.at(key));
				map.erase(it);
				twin.erase(key);
			}
			break;
		case 10:
			CHECK((map.find(key) == map.end()) == (twin.find(key) == twin.end()));
			break;
		default:
			if (random() % 5000 == 0)
			{
				map.clear();
				twin.clear();
			}
	}
}

static void randomMaps(uint32_t seed, uint32_t keys, size_t steps)
{
	std::mt19937 random(seed);
	Map map;
	Twin twin;
	for (size_t i = 0; i < steps; ++i)
	{
		step(map, twin, random, keys);
		if (i % 997 == 0)
		{
			checkSame(map, twin);
			eraseWhileIterating(map, twin, 3 * 1024);
			checkSame(map, twin);
		}
	}
	Map copy = map;
	CHECK(copy == map);
	Map moved = std::move(copy);
	CHECK(copy.empty() && !copy.contains(0) && copy.begin() == copy.end());
	copy.emplace(1, "again");
	CHECK(copy.size() == 1 && copy.at(1) == "again");
	checkSame(moved, twin);
	moved = std::move(map);
	checkSame(moved, twin);
}

static void valuesThatOnlyMove()
{
	ankerl::unordered_dense::map<std::string, std::unique_ptr<int>> map;
	map.reserve(3);
	map.try_emplace("a", std::make_unique<int>(1));
	map.emplace("b", std::make_unique<int>(2));
	map["c"] = std::make_unique<int>(3);
	map.erase("a");
	CHECK(map.size() == 2 && *map.at("b") == 2 && *map.at("c") == 3);
	bool thrown = false;
	try
	{
		map.at("a");
	}
	catch (const std::out_of_range&)
	{
		thrown = true;
	}
	CHECK(thrown);
}

static void sets(uint32_t seed)
{
	std::mt19937 random(seed);
	ankerl::unordered_dense::set<uint64_t> set;
	std::unordered_set<uint64_t> twin;
	for (size_t i = 0; i < 100000; ++i)
	{
		const uint64_t key = random() % 500;
		if (random() % 2 == 0)
		{
			CHECK(set.insert(key).second == twin.insert(key).second);
		}
		else
		{
			CHECK(set.erase(key) == twin.erase(key));
		}
	}
	CHECK(set.size() == twin.size());
	for (const uint64_t key : set)
	{
		CHECK(twin.contains(key));
	}
}

int main()
{
	for (uint32_t seed = 1; seed <= 4; ++seed)
	{
		randomMaps(seed, 7, 50000);
		randomMaps(seed, 200, 200000);
		randomMaps(seed, 20000, 200000);
		sets(seed);
	}
	valuesThatOnlyMove();
	const ankerl::unordered_dense::map<int, int> literal{ { 1, 10 }, { 2, 20 }, { 1, 30 } };
	CHECK(literal.size() == 2 && literal.at(1) == 10);
	return 0;
}
