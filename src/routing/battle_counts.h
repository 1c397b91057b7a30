// How often each side won against each other, for each prompt of an index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fastroute {

// Sides are tiers of models, numbered from 0, and past them one that stands at strength 0: a battle within a tier
// counts in RouteLLM's code as one of that tier against it. Side i beats side j in cell i * sides() + j.
//
// Immutable once built.
class BattleCounts {
 public:
  // Prompt i has the entries offsets[i] .. offsets[i + 1]: the cell and how much it counts. Throws InvalidArgument
  // where offsets don't start at 0, fall, or end elsewhere than the entries; a cell is outside sides()^2, twice in one
  // prompt, or of a side against itself; a count is not a finite number above 0; or tiers are not in
  // 1..kMostTiers.
  BattleCounts(size_t tiers, const int64_t* offsets, size_t prompts, const uint16_t* cells, const float* counts,
               size_t entries);

  static constexpr size_t kMostTiers = 64;

  struct Entry {
    uint32_t cell;
    float count;
  };

  size_t tiers() const noexcept { return tiers_; }
  size_t sides() const noexcept { return tiers_ + 1; }
  size_t prompts() const noexcept { return prompts_; }

  // sums[cell] = sum_i weights[i] * count of the cell in prompt i; all of sides()^2 cells are written. In an order that
  // the index alone decides.
  void weigh(const float* weights, double* sums) const;

  // The same over n prompts alone, each as often as `rows` has it, in their order.
  void weigh_rows(const int64_t* rows, const double* weights, size_t n, double* sums) const;

  // The same over all prompts with all weights 1.
  const std::vector<double>& totals() const noexcept { return totals_; }

  // visit(begin, end, entries) for each run of prompts begin .. end that have the same entries, in order.
  template <class Visit>
  void for_runs(const Visit& visit) const {
    size_t begin = 0;
    size_t entry = 0;
    for (const Run& run : runs_) {
      visit(begin, size_t{run.end}, std::span<const Entry>(entries_.data() + entry, run.entries - entry));
      begin = run.end;
      entry = run.entries;
    }
  }

 private:
  // Prompts begin .. end, which have the same entries: from the last run's `entries` to this one's.
  struct Run {
    uint32_t end;
    uint32_t entries;
  };

  size_t tiers_;
  size_t prompts_;
  std::vector<Run> runs_;
  std::vector<Entry> entries_;
  std::vector<double> totals_;
};

}  // namespace fastroute
