// Inputs for kernels: ordinary numbers, and every kind that is not.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace fastroute::tests {

enum class Kind { kOrdinary, kDenormal, kHuge, kZeros, kInfinite, kNaN, kAnyBits };

constexpr Kind kAllKinds[] = {Kind::kOrdinary, Kind::kDenormal, Kind::kHuge,   Kind::kZeros,
                              Kind::kInfinite, Kind::kNaN,      Kind::kAnyBits};

using Random = std::mt19937_64;

inline float number(Kind kind, Random& random) {
  using Limits = std::numeric_limits<float>;
  std::normal_distribution<float> normal;
  const uint64_t draw = random();
  switch (kind) {
    case Kind::kDenormal:
      return static_cast<float>(draw % 1000) * Limits::denorm_min() * (draw % 2 == 0 ? 1.0F : -1.0F);
    case Kind::kHuge:
      return normal(random) * 1e38F;
    case Kind::kZeros:
      return draw % 3 == 0 ? normal(random) : (draw % 3 == 1 ? 0.0F : -0.0F);
    case Kind::kInfinite:
      if (draw % 64 < 2) return draw % 64 == 0 ? Limits::infinity() : -Limits::infinity();
      break;
    case Kind::kNaN:
      if (draw % 64 == 0) return Limits::quiet_NaN();
      break;
    case Kind::kAnyBits:
      return std::bit_cast<float>(static_cast<uint32_t>(draw));
    case Kind::kOrdinary:
      break;
  }
  return normal(random);
}

inline std::vector<float> numbers(Kind kind, size_t count, Random& random) {
  std::vector<float> values(count);
  for (float& value : values) value = number(kind, random);
  return values;
}

inline std::vector<int8_t> bytes(size_t count, Random& random) {
  std::vector<int8_t> values(count);
  for (int8_t& value : values) value = static_cast<int8_t>(static_cast<uint8_t>(random()));
  return values;
}

}  // namespace fastroute::tests
