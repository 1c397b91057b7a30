// What the prompts of each cell of battles have in common: the mean of their unit vectors, and the directions in which
// they vary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "routing/battle_counts.h"

namespace fastroute {

// Immutable once built.
class BattleMoments {
 public:
  // For cell cells[c], row c of `means` is the mean of the prompts' exact unit vectors, each counted as often as the
  // cell has it; `factors` has `rank` rows for each cell, eigenvectors of their covariance times the square root of
  // their eigenvalue. Throws InvalidArgument where there is no cell, cells don't rise, dim is not in 1..kMostDimensions
  // or rank above kMostRank, sizes disagree, or a number is not from -1 to 1.
  BattleMoments(std::vector<uint16_t> cells, size_t dim, std::vector<float> means, size_t rank,
                std::vector<float> factors);

  static constexpr size_t kMostRank = 256;

  size_t size() const noexcept { return cells_.size(); }
  size_t dim() const noexcept { return dim_; }
  size_t rank() const noexcept { return rank_; }
  const std::vector<uint16_t>& cells() const noexcept { return cells_; }
  const std::vector<float>& means() const noexcept { return means_; }
  const std::vector<float>& factors() const noexcept { return factors_; }

  // Throws InvalidArgument unless the cells are those that the counts have.
  void require_cells_of(const BattleCounts& counts) const;

  // out[q * size() + c] = the logarithm of the mean of exp(slope * cosine) over the prompts of cell c, from its first
  // two cumulants: what it is where cosines are distributed normally. `units` is count x dim(), of unit vectors.
  void log_means(const float* units, size_t count, double slope, double* out) const;

 private:
  std::vector<uint16_t> cells_;
  size_t dim_, rank_;
  std::vector<float> means_, factors_;
};

}  // namespace fastroute
