#include "routing/battle_moments.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include "routing/similarity_index.h"
#include "runtime/error.h"
#include "runtime/simd.h"

namespace fastroute {
namespace {

void require_components(const std::vector<float>& values, size_t count, const char* name) {
  if (values.size() != count) {
    throw InvalidArgument(std::string(name) + ": found " + std::to_string(values.size()) + " numbers, allowed: " +
                          std::to_string(count) + ", one row of each cell's for each dimension");
  }
  const auto bad = std::ranges::find_if(values, [](float x) { return !(x >= -1 && x <= 1); });
  if (bad != values.end()) {
    throw InvalidArgument(std::string(name) + ": found " + std::to_string(*bad) + ", allowed: -1 to 1");
  }
}

}  // namespace

BattleMoments::BattleMoments(std::vector<uint16_t> cells, size_t dim, std::vector<float> means, size_t rank,
                             std::vector<float> factors)
    : cells_(std::move(cells)), dim_(dim), rank_(rank), means_(std::move(means)), factors_(std::move(factors)) {
  if (cells_.empty()) throw InvalidArgument("cells: found none, allowed: 1 or more");
  const auto fall = std::ranges::adjacent_find(cells_, std::greater_equal<>());
  if (fall != cells_.end()) {
    throw InvalidArgument("cells: found " + std::to_string(*(fall + 1)) + " after " + std::to_string(*fall) +
                          ", allowed: each once, ascending");
  }
  if (dim_ == 0 || dim_ > kMostDimensions) {
    throw InvalidArgument("means: found " + std::to_string(dim_) + " columns, allowed: 1 to " +
                          std::to_string(kMostDimensions));
  }
  if (rank_ > kMostRank) {
    throw InvalidArgument("factors: found " + std::to_string(rank_) + " for each cell, allowed: 0 to " +
                          std::to_string(kMostRank));
  }
  require_components(means_, size() * dim_, "means");
  require_components(factors_, size() * rank_ * dim_, "factors");
}

void BattleMoments::require_cells_of(const BattleCounts& counts) const {
  const auto& totals = counts.totals();
  const size_t known = totals.size();
  const auto outside = std::ranges::find_if(cells_, [&](size_t cell) { return cell >= known || !(totals[cell] > 0); });
  if (outside != cells_.end()) {
    throw InvalidArgument("moments: found cell " + std::to_string(*outside) +
                          ", of which there is no battle; allowed: the cells of the counts");
  }
  for (size_t cell = 0; cell < known; ++cell) {
    if (totals[cell] > 0 && !std::ranges::binary_search(cells_, cell)) {
      throw InvalidArgument("moments: found none of cell " + std::to_string(cell) +
                            ", which has battles; allowed: those of all cells of the counts");
    }
  }
}

void BattleMoments::log_means(const float* units, size_t count, double slope, double* out) const {
  const auto& kernels = active_kernels();
  float factor[kMostRank];
  // A cell's factors are read once for all queries.
  for (size_t c = 0; c < size(); ++c) {
    for (size_t q = 0; q < count; ++q) {
      const float* unit = units + q * dim_;
      float mean = 0;
      kernels.dot_rows_f32(means_.data() + c * dim_, 1, unit, dim_, &mean);
      kernels.dot_rows_f32(factors_.data() + c * rank_ * dim_, rank_, unit, dim_, factor);
      double variance = 0;
      for (size_t k = 0; k < rank_; ++k) variance += static_cast<double>(factor[k]) * static_cast<double>(factor[k]);
      out[q * size() + c] = slope * (static_cast<double>(mean) + slope / 2 * variance);
    }
  }
}

}  // namespace fastroute
