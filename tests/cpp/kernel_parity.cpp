// kernels.h promises the same bits at every level. NaN may differ in its payload only.
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.h"
#include "kernel_data.h"
#include "levels.h"

namespace {

using fastroute::kernels::KernelTable;
using namespace fastroute::tests;

bool alike(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) ? !std::isnan(b[i]) : std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) {
      return false;
    }
  }
  return a.size() == b.size();
}

// All outputs of one level for the same inputs.
struct Outputs {
  std::vector<float> dots, scaled_dots, sums, sigmoids;
};

Outputs run(const KernelTable& kernels, Kind kind, size_t n, uint64_t seed) {
  constexpr size_t kRows = 3;
  Random random(seed);
  const auto rows = numbers(kind, kRows * n, random);
  const auto v = numbers(kind, n, random);
  const auto small_rows = bytes(kRows * n, random);
  const auto scales = numbers(kind, kRows, random);
  Outputs out{std::vector<float>(kRows), std::vector<float>(kRows), numbers(kind, n, random), std::vector<float>(n)};
  kernels.dot_rows_f32(rows.data(), kRows, v.data(), n, out.dots.data());
  kernels.dot_rows_i8(small_rows.data(), scales.data(), kRows, v.data(), n, out.scaled_dots.data());
  kernels.add_scaled_i8(small_rows.data(), scales[0], out.sums.data(), n);
  kernels.sigmoid_f32(v.data(), out.sigmoids.data(), n);
  return out;
}

long long compare(const KernelTable& scalar, const KernelTable& wide) {
  long long cases = 0;
  for (const Kind kind : kAllKinds) {
    for (size_t n = 0; n <= 258; ++n) {
      const size_t length = n == 258 ? 1536 : n;
      const uint64_t seed = length * 10 + static_cast<uint64_t>(kind);
      const Outputs expected = run(scalar, kind, length, seed);
      const Outputs found = run(wide, kind, length, seed);
      CHECK(alike(expected.dots, found.dots));
      CHECK(alike(expected.scaled_dots, found.scaled_dots));
      CHECK(alike(expected.sums, found.sums));
      CHECK(alike(expected.sigmoids, found.sigmoids));
      cases += 4;
    }
  }
  return cases;
}

// Scores of random embeddings: no level may put one on the other side of a threshold.
long long count_flips(const std::vector<const KernelTable*>& levels) {
  constexpr size_t kDim = 256;
  constexpr size_t kScores = 200000;
  constexpr size_t kBlock = 500;
  Random random(5);
  const auto weights = numbers(Kind::kOrdinary, kDim, random);
  for (size_t done = 0; done < kScores; done += kBlock) {
    auto rows = numbers(Kind::kOrdinary, kBlock * kDim, random);
    for (float& x : rows) x *= 0.1F;
    std::vector<std::vector<float>> scores;
    for (const KernelTable* kernels : levels) {
      std::vector<float> logits(kBlock), out(kBlock);
      kernels->dot_rows_f32(rows.data(), kBlock, weights.data(), kDim, logits.data());
      kernels->sigmoid_f32(logits.data(), out.data(), kBlock);
      scores.push_back(out);
    }
    for (const auto& other : scores) {
      for (size_t i = 0; i < kBlock; ++i) {
        // The hardest thresholds: the very scores.
        const float threshold = scores[0][i];
        CHECK((other[i] >= threshold) && !(other[i] > threshold));
      }
    }
  }
  return static_cast<long long>(kScores);
}

}  // namespace

int main() {
  const auto levels = available_levels();
  long long cases = 0;
  for (const KernelTable* wide : levels) cases += compare(*levels[0], *wide);
  cases += count_flips(levels);
  std::printf("levels: %zu\n", levels.size());
  return summary("parity", cases);
}
