// The bounds that kernels.h states, against long double.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include "check.h"
#include "kernel_data.h"
#include "levels.h"

namespace {

using fastroute::kernels::KernelTable;
using namespace fastroute::tests;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Distance in representable floats; for numbers of one sign.
int64_t ulps(float a, float b) {
  return std::llabs(int64_t{std::bit_cast<int32_t>(a)} - int64_t{std::bit_cast<int32_t>(b)});
}

float sigmoid_of(const KernelTable& kernels, float x) {
  float out = -1;
  kernels.sigmoid_f32(&x, &out, 1);
  return out;
}

float exact_sigmoid(float x) {
  const long double wide = x;
  return static_cast<float>(wide < 0 ? std::exp(wide) / (1.0L + std::exp(wide)) : 1.0L / (1.0L + std::exp(-wide)));
}

long long check_sigmoid(const KernelTable& kernels) {
  long long cases = 0;
  int64_t worst = 0;
  const auto check = [&](float x) {
    const float y = sigmoid_of(kernels, x);
    const int64_t distance = ulps(y, exact_sigmoid(x));
    worst = std::max(worst, distance);
    CHECK(y >= 0 && y <= 1);
    CHECK(distance <= 1);
    ++cases;
  };
  // Every 4001st float, negative ones too; finer steps where scores are neither 0 nor 1, and where they are denormal.
  for (uint32_t bits = 0; bits < 0x7F800000U; bits += 4001) {
    check(std::bit_cast<float>(bits));
    check(-std::bit_cast<float>(bits));
  }
  for (int i = 0; i <= 1000000; ++i) check(-20.0F + 40.0F * static_cast<float>(i) / 1000000.0F);
  for (int i = 0; i <= 200000; ++i) check(-87.0F - 18.0F * static_cast<float>(i) / 200000.0F);
  for (const float x : {0.0F, 88.0F, 104.0F, 103.97F, 103.98F, std::numeric_limits<float>::denorm_min(),
                        std::numeric_limits<float>::max()}) {
    check(x);
    check(-x);
  }
  CHECK(sigmoid_of(kernels, 0.0F) == 0.5F);
  CHECK(sigmoid_of(kernels, -0.0F) == 0.5F);
  CHECK(sigmoid_of(kernels, kInfinity) == 1.0F);
  CHECK(sigmoid_of(kernels, -kInfinity) == 0.0F);
  CHECK(std::isnan(sigmoid_of(kernels, std::numeric_limits<float>::quiet_NaN())));
  CHECK(sigmoid_of(kernels, -103.0F) > 0.0F);  // a denormal, not flushed
  CHECK(sigmoid_of(kernels, -104.0F) == 0.0F);
  std::printf("level %d: sigmoid within %lld ULP\n", static_cast<int>(kernels.level), static_cast<long long>(worst));
  return cases;
}

long double dot_bound(size_t n, long double sum_of_absolutes) {
  return (static_cast<long double>(n) / 32 + 6) * std::pow(2.0L, -24) * sum_of_absolutes;
}

long long check_dots(const KernelTable& kernels) {
  long long cases = 0;
  Random random(3);
  for (size_t n = 0; n <= 258; ++n) {
    const size_t length = n == 258 ? 1536 : n;
    const auto row = numbers(Kind::kOrdinary, length, random);
    const auto v = numbers(Kind::kOrdinary, length, random);
    const auto small_row = bytes(length, random);
    const float scale = 0.0123F;
    long double sum = 0, absolute = 0, small_sum = 0, small_absolute = 0;
    for (size_t j = 0; j < length; ++j) {
      const long double product = static_cast<long double>(row[j]) * static_cast<long double>(v[j]);
      const long double small = static_cast<long double>(small_row[j]) * static_cast<long double>(v[j]);
      sum += product;
      absolute += std::abs(product);
      small_sum += small;
      small_absolute += std::abs(small);
    }
    float out = -1;
    kernels.dot_rows_f32(row.data(), 1, v.data(), length, &out);
    CHECK(std::abs(static_cast<long double>(out) - sum) <= dot_bound(length, absolute));
    kernels.dot_rows_i8(small_row.data(), &scale, 1, v.data(), length, &out);
    const long double factor = scale;
    // One rounding more, for the scale.
    const long double scaled_bound = factor * dot_bound(length, small_absolute) +
                                     std::pow(2.0L, -24) * std::abs(factor * small_sum) * (1 + std::pow(2.0L, -10));
    CHECK(std::abs(static_cast<long double>(out) - factor * small_sum) <= scaled_bound);
    cases += 2;
  }
  return cases;
}

// scale * row[j] is rounded, then the sum: exactly what plain float arithmetic gives.
long long check_add_scaled(const KernelTable& kernels) {
  Random random(4);
  long long cases = 0;
  for (size_t n = 0; n <= 257; ++n) {
    const auto row = bytes(n, random);
    const auto before = numbers(Kind::kOrdinary, n, random);
    auto sum = before;
    kernels.add_scaled_i8(row.data(), 0.37F, sum.data(), n);
    for (size_t j = 0; j < n; ++j) {
      const auto term = static_cast<float>(static_cast<double>(0.37F) * row[j]);
      CHECK(sum[j] == static_cast<float>(static_cast<double>(before[j]) + static_cast<double>(term)));
    }
    ++cases;
  }
  return cases;
}

// Exponents whose float is exact, so that only the power's own error is left; and the documented least weight.
long long check_weights(const KernelTable& kernels) {
  long long cases = 0;
  for (int32_t dot = -46 * 1024; dot <= 3 * 1024; ++dot) {
    const float scale = 1.0F / 1024;
    float out = -1;
    kernels.similarity_weights(&dot, &scale, 1.0F, 0.0F, 1, &out);
    const long double exponent = std::max(dot / 1024.0L, static_cast<long double>(fastroute::kernels::kLeastExponent));
    CHECK(std::abs(static_cast<long double>(out) / std::exp2(exponent) - 1) <= 3e-7L);
    ++cases;
  }
  const int32_t dots[] = {std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()};
  const float scales[] = {kInfinity, -kInfinity};
  float out[2];
  kernels.similarity_weights(dots, scales, 1.0F, 0.0F, 2, out);
  CHECK(out[0] == std::exp2(fastroute::kernels::kLeastExponent) && out[1] == out[0]);
  CHECK(kernels.max_scaled_i32(dots, scales, 0) == -kInfinity);
  return cases + 2;
}

long long check_sums(const KernelTable& kernels) {
  Random random(6);
  for (size_t n = 0; n <= 300; ++n) {
    const auto x = numbers(Kind::kOrdinary, n, random);
    long double sum = 0, absolute = 0;
    for (const float value : x) {
      sum += static_cast<long double>(value);
      absolute += std::abs(static_cast<long double>(value));
    }
    CHECK(std::abs(static_cast<long double>(kernels.sum_f32(x.data(), n)) - sum) <= 1e-14L * absolute);
  }
  return 301;
}

}  // namespace

int main() {
  long long cases = 0;
  for (const KernelTable* kernels : available_levels()) {
    cases += check_sigmoid(*kernels) + check_dots(*kernels) + check_add_scaled(*kernels) + check_weights(*kernels) +
             check_sums(*kernels);
  }
  return summary("accuracy", cases);
}
