#include "routing/rounding_correction.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "runtime/simd.h"

namespace fastroute {
namespace {

// sum = the sum of the rows begin .. end as stored.
void sum_rows(const SimilarityIndex& index, size_t begin, size_t end, std::vector<int8_t>& row,
              std::vector<float>& part, std::vector<double>& sum) {
  constexpr size_t kPart = 64;  // so few that floats hold their sum well
  const auto& kernels = active_kernels();
  const size_t dim = index.dim();
  std::ranges::fill(sum, 0.0);
  for (size_t first = begin; first < end; first += kPart) {
    std::ranges::fill(part, 0.0F);
    for (size_t i = first; i < std::min(first + kPart, end); ++i) {
      index.row(i, row.data());
      kernels.add_scaled_i8(row.data(), index.scales()[i], part.data(), dim);
    }
    for (size_t j = 0; j < dim; ++j) sum[j] += static_cast<double>(part[j]);
  }
}

}  // namespace

RoundingCorrection::RoundingCorrection(const BattleMoments& moments, const SimilarityIndex& index,
                                       const BattleCounts& counts)
    : dim_(index.dim()) {
  const auto& cells = moments.cells();
  std::vector<size_t> place(counts.totals().size(), 0);
  for (size_t c = 0; c < cells.size(); ++c) place[cells[c]] = c;
  std::vector<double> sums(cells.size() * dim_, 0.0), sum(dim_);
  std::vector<int8_t> row(dim_);
  std::vector<float> part(dim_);
  counts.for_runs([&](size_t begin, size_t end, std::span<const BattleCounts::Entry> entries) {
    if (entries.empty()) return;
    sum_rows(index, begin, end, row, part, sum);
    for (const auto& entry : entries) {
      double* cell = sums.data() + place[entry.cell] * dim_;
      const auto count = static_cast<double>(entry.count);
      for (size_t j = 0; j < dim_; ++j) cell[j] += count * sum[j];
    }
  });
  for (size_t c = 0; c < cells.size(); ++c) {
    double* mean = sums.data() + c * dim_;
    const float* exact = moments.means().data() + c * dim_;
    for (size_t j = 0; j < dim_; ++j) mean[j] /= counts.totals()[cells[c]];
    stored_.append(mean, dim_);
    for (size_t j = 0; j < dim_; ++j) sum[j] = static_cast<double>(exact[j]) - mean[j];
    lost_.append(sum.data(), dim_);
  }
}

void RoundingCorrection::Rows::append(const double* row, size_t dim) {
  constexpr double kLargest = 127;
  double largest = 0;
  for (size_t j = 0; j < dim; ++j) largest = std::max(largest, std::abs(row[j]));
  const double factor = largest > 0 ? kLargest / largest : 0;
  for (size_t j = 0; j < dim; ++j) rows.push_back(static_cast<int8_t>(std::nearbyint(row[j] * factor)));
  scales.push_back(static_cast<float>(largest / kLargest));
}

void RoundingCorrection::shifts(const float* unit, const int8_t* rounded, float scale, std::vector<float>& scratch,
                                std::vector<double>& shifts) const {
  const auto& kernels = active_kernels();
  const size_t cells = stored_.scales.size();
  scratch.resize(dim_ + 2 * cells);
  float* lost = scratch.data() + dim_;
  float* of_query = lost + cells;
  // Two small products: the difference of two large ones would have their rounding errors.
  for (size_t j = 0; j < dim_; ++j) scratch[j] = unit[j] - scale * static_cast<float>(rounded[j]);
  kernels.dot_rows_i8(lost_.rows.data(), lost_.scales.data(), cells, unit, dim_, lost);
  kernels.dot_rows_i8(stored_.rows.data(), stored_.scales.data(), cells, scratch.data(), dim_, of_query);
  shifts.resize(cells);
  for (size_t c = 0; c < cells; ++c) shifts[c] = static_cast<double>(lost[c]) + static_cast<double>(of_query[c]);
}

}  // namespace fastroute
