#include "routing/battle_counts.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/simd.h"

namespace fastroute {
namespace {

constexpr size_t kLongRun = 16;

bool same_entries(const uint16_t* cells, const float* counts, int64_t begin, int64_t middle, int64_t end) {
  const auto length = middle - begin;
  return end - middle == length && std::equal(cells + begin, cells + middle, cells + middle) &&
         std::equal(counts + begin, counts + middle, counts + middle);
}

}  // namespace

BattleCounts::BattleCounts(size_t tiers, const int64_t* offsets, size_t prompts, const uint16_t* cells,
                           const float* counts, size_t entries)
    : tiers_(tiers), prompts_(prompts) {
  if (tiers_ < 1 || tiers_ > kMostTiers) {
    throw InvalidArgument("tiers: found " + std::to_string(tiers_) + ", allowed: 1 to " + std::to_string(kMostTiers));
  }
  constexpr size_t kMost = std::numeric_limits<uint32_t>::max();
  if (prompts_ > kMost || entries > kMost) {
    throw InvalidArgument("offsets: found " + std::to_string(prompts_) + " prompts and " + std::to_string(entries) +
                          " entries, allowed: at most " + std::to_string(kMost));
  }
  if (offsets[0] != 0 || offsets[prompts_] != static_cast<int64_t>(entries) ||
      !std::is_sorted(offsets, offsets + prompts_ + 1)) {
    throw InvalidArgument("offsets: found numbers that don't rise from 0 to " + std::to_string(entries) +
                          ", allowed: where each prompt's entries begin, and the number of all");
  }
  const size_t n = sides();
  std::vector<double> sums(n * n, 0.0);
  std::vector<int64_t> last(n * n, -1);  // the prompt that had the cell last
  for (size_t i = 0; i < prompts_; ++i) {
    for (int64_t e = offsets[i]; e < offsets[i + 1]; ++e) {
      const size_t cell = cells[e];
      if (cell >= n * n || cell / n == cell % n || last[cell] == static_cast<int64_t>(i)) {
        throw InvalidArgument("cells: found " + std::to_string(cell) + " at prompt " + std::to_string(i) +
                              ", allowed: each once, below " + std::to_string(n * n) + ", of two different sides");
      }
      if (!(counts[e] > 0 && std::isfinite(counts[e]))) {
        throw InvalidArgument("counts: found " + std::to_string(counts[e]) + " at prompt " + std::to_string(i) +
                              ", allowed: finite numbers above 0");
      }
      last[cell] = static_cast<int64_t>(i);
    }
    const bool more = i > 0 && same_entries(cells, counts, offsets[i - 1], offsets[i], offsets[i + 1]);
    if (!more) {
      for (int64_t e = offsets[i]; e < offsets[i + 1]; ++e) entries_.push_back({cells[e], counts[e]});
      runs_.push_back({});
    }
    runs_.back() = {static_cast<uint32_t>(i + 1), static_cast<uint32_t>(entries_.size())};
  }
  entries_.shrink_to_fit();
  runs_.shrink_to_fit();
  weigh(std::vector<float>(prompts_, 1.0F).data(), sums.data());
  totals_ = std::move(sums);
}

void BattleCounts::weigh(const float* weights, double* sums) const {
  const auto& kernels = active_kernels();
  std::fill_n(sums, sides() * sides(), 0.0);
  size_t begin = 0;
  size_t entry = 0;
  for (const Run& run : runs_) {
    const size_t length = run.end - begin;
    double weight = 0;
    if (length >= kLongRun) {
      weight = kernels.sum_f32(weights + begin, length);
    } else {
      for (size_t i = begin; i < run.end; ++i) weight += static_cast<double>(weights[i]);
    }
    for (; entry < run.entries; ++entry) {
      sums[entries_[entry].cell] += weight * static_cast<double>(entries_[entry].count);
    }
    begin = run.end;
  }
}

void BattleCounts::weigh_rows(const int64_t* rows, const double* weights, size_t n, double* sums) const {
  std::fill_n(sums, sides() * sides(), 0.0);
  for (size_t i = 0; i < n; ++i) {
    const auto run =
        std::ranges::upper_bound(runs_, static_cast<size_t>(rows[i]), {}, [](const Run& r) { return size_t{r.end}; });
    for (size_t e = run == runs_.begin() ? 0 : std::prev(run)->entries; e < run->entries; ++e) {
      sums[entries_[e].cell] += weights[i] * static_cast<double>(entries_[e].count);
    }
  }
}

}  // namespace fastroute
