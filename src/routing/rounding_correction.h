// What rounding to int8 moved each cell's mean cosine by. The errors of single prompts average out over a cell; those
// that its prompts share do not, and they are a product of means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "routing/battle_counts.h"
#include "routing/battle_moments.h"
#include "routing/similarity_index.h"

namespace fastroute {

// Immutable once built.
class RoundingCorrection {
 public:
  // The moments are of these counts and have the index's dimensions.
  RoundingCorrection(const BattleMoments& moments, const SimilarityIndex& index, const BattleCounts& counts);

  // shifts[c] = the mean cosine of cell c, exact less rounded. The query is `unit`, and `rounded` times `scale` as the
  // index read it. `scratch` keeps its memory between calls.
  void shifts(const float* unit, const int8_t* rounded, float scale, std::vector<float>& scratch,
              std::vector<double>& shifts) const;

 private:
  // Rows times their scales. Each meets something small, where int8 is exact enough, and takes little of the cache.
  struct Rows {
    std::vector<int8_t> rows;
    std::vector<float> scales;
    void append(const double* row, size_t dim);
  };

  size_t dim_;
  Rows lost_, stored_;  // for each cell the exact mean less that of the rows as stored; the latter
};

}  // namespace fastroute
