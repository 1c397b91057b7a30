// kernels.h promises the same bits at every level. NaN may differ in its payload only.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <vector>

#include "check.h"
#include "kernel_data.h"
#include "levels.h"

namespace {

using fastroute::kernels::KernelTable;
using fastroute::kernels::kTextBlock;
using fastroute::kernels::kTextClasses;
using namespace fastroute::tests;

template <class T>
bool alike(const std::vector<T>& a, const std::vector<T>& b) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) ? !std::isnan(b[i]) : std::bit_cast<Bits>(a[i]) != std::bit_cast<Bits>(b[i])) {
      return false;
    }
  }
  return a.size() == b.size();
}

// All outputs of one level for the same inputs.
struct Outputs {
  std::vector<float> dots, scaled_dots, sums, sigmoids, clipped;
  std::vector<double> row_sums;
  std::vector<uint64_t> masks;
};

Outputs run(const KernelTable& kernels, Kind kind, size_t n, uint64_t seed) {
  constexpr size_t kRows = 3;
  Random random(seed);
  const auto rows = numbers(kind, kRows * n, random);
  const auto v = numbers(kind, n, random);
  const auto small_rows = bytes(kRows * n, random);
  const auto scales = numbers(kind, kRows, random);
  const size_t lanes = n / 16 * 16;
  const auto means = numbers(kind, kRows * lanes, random);
  const auto factors = numbers(kind, kRows * lanes, random);
  const auto weights = numbers(kind, kRows * lanes, random);
  auto most = numbers(Kind::kOrdinary, lanes, random);
  for (float& x : most) x = std::abs(x);
  Outputs out{std::vector<float>(kRows),          std::vector<float>(kRows),
              numbers(kind, n, random),           std::vector<float>(n),
              numbers(kind, lanes, random),       std::vector<double>(n),
              std::vector<uint64_t>(kTextClasses)};
  kernels.dot_rows_f32(rows.data(), kRows, v.data(), n, out.dots.data());
  kernels.dot_rows_i8(small_rows.data(), scales.data(), kRows, v.data(), n, out.scaled_dots.data());
  kernels.add_scaled_i8(small_rows.data(), scales[0], out.sums.data(), n);
  kernels.sigmoid_f32(v.data(), out.sigmoids.data(), n);
  kernels.add_clipped_f32(scales.data(), kRows, means.data(), factors.data(), weights.data(), most.data(), lanes,
                          out.clipped.data());
  const int32_t order[] = {2, 0, 1, 1, 2};
  kernels.sum_rows_f32(rows.data(), n, order, std::size(order), out.row_sums.data());
  kernels.classify_text(reinterpret_cast<const unsigned char*>(small_rows.data()), n % (kTextBlock + 1),
                        out.masks.data());
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
      CHECK(alike(expected.clipped, found.clipped));
      CHECK(alike(expected.row_sums, found.row_sums));
      CHECK(expected.masks == found.masks);
      cases += 7;
    }
  }
  return cases;
}

// Dot products of blocks against their definition, and what becomes of them.
long long check_similarities(const KernelTable& scalar, const KernelTable& kernels) {
  long long cases = 0;
  for (const size_t groups : {0UL, 1UL, 2UL, 7UL, 64UL, 384UL, 16384UL}) {
    for (const size_t count : {0UL, 1UL, 2UL, 3UL, 4UL, 7UL}) {
      for (const size_t queries : {0UL, 1UL, 2UL, 3UL, 7UL, 8UL, 9UL, 11UL, 19UL, 64UL}) {
        if (groups == 16384 && (count > 4 || queries > 11)) continue;
        Random random(groups * 1000 + count * 100 + queries);
        const size_t rows = 16 * count;
        const bool extreme = queries % 2 == 1;  // the largest sums there are
        auto block = bytes(rows * groups * 4, random);
        auto query = bytes(queries * groups * 4, random);
        for (int8_t& x : block) x = extreme ? int8_t{-1} : x;  // 255 as an unsigned byte
        for (int8_t& x : query) x = extreme ? int8_t{-127} : x;
        std::vector<int32_t> starts(queries), expected(queries * rows), found(queries * rows, -1);
        for (size_t q = 0; q < queries; ++q) {
          for (size_t j = 0; j < groups * 4; ++j) starts[q] -= 128 * query[q * groups * 4 + j];
          for (size_t r = 0; r < rows; ++r) {
            int64_t sum = 0;
            for (size_t j = 0; j < groups * 4; ++j) {
              const size_t at = ((r / 16 * groups + j / 4) * 16 + r % 16) * 4 + j % 4;
              sum += (static_cast<int64_t>(static_cast<uint8_t>(block[at])) - 128) * query[q * groups * 4 + j];
            }
            expected[q * rows + r] = static_cast<int32_t>(sum);
          }
        }
        kernels.dot_blocks_i8(reinterpret_cast<const uint8_t*>(block.data()), count, groups, query.data(),
                              starts.data(), queries, found.data(), rows);
        CHECK(expected == found);
        const auto scales = numbers(Kind::kOrdinary, queries * rows, random);
        for (size_t n = 0; n <= std::min<size_t>(queries * rows, 70); ++n) {
          std::vector<float> a(n), b(n);
          CHECK(std::bit_cast<uint32_t>(scalar.max_scaled_i32(found.data(), scales.data(), n)) ==
                std::bit_cast<uint32_t>(kernels.max_scaled_i32(found.data(), scales.data(), n)));
          scalar.similarity_weights(found.data(), scales.data(), 1e-6F, -1.0F, n, a.data());
          kernels.similarity_weights(found.data(), scales.data(), 1e-6F, -1.0F, n, b.data());
          CHECK(alike(a, b));
          CHECK(alike(std::vector<double>{scalar.sum_f32(scales.data(), n)},
                      std::vector<double>{kernels.sum_f32(scales.data(), n)}));
        }
        ++cases;
      }
    }
  }
  return cases;
}

// Every byte at every place of a block, alone.
long long compare_bytes(const KernelTable& scalar, const KernelTable& wide) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (size_t i = 0; i < kTextBlock; ++i) {
      unsigned char text[kTextBlock] = {};
      text[i] = static_cast<unsigned char>(byte);
      for (const size_t n : {i, i + 1, kTextBlock}) {
        uint64_t expected[kTextClasses];
        uint64_t found[kTextClasses];
        scalar.classify_text(text, n, expected);
        wide.classify_text(text, n, found);
        CHECK(std::equal(expected, expected + kTextClasses, found));
      }
    }
  }
  return 256 * static_cast<long long>(kTextBlock) * 3;
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
  for (const KernelTable* wide : levels) {
    cases += compare(*levels[0], *wide) + compare_bytes(*levels[0], *wide) + check_similarities(*levels[0], *wide);
  }
  cases += count_flips(levels);
  std::printf("levels: %zu\n", levels.size());
  return summary("parity", cases);
}
