#include "routing/similarity_index.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/simd.h"

namespace fastroute {
namespace {

using kernels::kBlockRows;
using kernels::kGroup;

constexpr uint8_t kOffset = 128;  // rows lie as unsigned bytes
constexpr float kLargest = 127;

size_t round_up(size_t count, size_t unit) noexcept { return (count + unit - 1) / unit * unit; }

void require_finite(double x, size_t index, size_t column) {
  if (std::isfinite(x)) return;
  throw InvalidArgument("embeddings: row " + std::to_string(index) + ", column " + std::to_string(column) + ": found " +
                        (std::isnan(x) ? "NaN" : "Inf") + ", allowed: finite numbers");
}

}  // namespace

int32_t fine_steps(size_t dim) noexcept {
  constexpr size_t kMostSteps = 254;  // a half of them each way fits int8
  return static_cast<int32_t>(std::clamp((size_t{1} << 17) / std::max(dim, size_t{1}), size_t{1}, kMostSteps));
}

float quantise(const float* row, size_t dim, size_t index, int8_t* out, int8_t* fine) {
  double squares = 0;
  double largest = 0;
  for (size_t j = 0; j < dim; ++j) {
    const auto x = static_cast<double>(row[j]);
    require_finite(x, index, j);
    squares += x * x;
    largest = std::max(largest, std::abs(x));
  }
  if (largest == 0) {
    std::fill_n(out, dim, int8_t{0});
    if (fine != nullptr) std::fill_n(fine, dim, int8_t{0});
    return 0;
  }
  const double factor = static_cast<double>(kLargest) / largest;
  const double steps = fine_steps(dim);
  for (size_t j = 0; j < dim; ++j) {
    const double x = static_cast<double>(row[j]) * factor;
    const double coarse = std::nearbyint(x);
    out[j] = static_cast<int8_t>(coarse);
    if (fine != nullptr) fine[j] = static_cast<int8_t>(std::nearbyint((x - coarse) * steps));
  }
  return static_cast<float>(largest / (static_cast<double>(kLargest) * std::sqrt(squares)));
}

bool unit_vector(const float* row, size_t dim, size_t index, float* out) {
  double squares = 0;
  for (size_t j = 0; j < dim; ++j) {
    const auto x = static_cast<double>(row[j]);
    require_finite(x, index, j);
    squares += x * x;
  }
  const double factor = squares > 0 ? 1 / std::sqrt(squares) : 0;
  for (size_t j = 0; j < dim; ++j) out[j] = static_cast<float>(static_cast<double>(row[j]) * factor);
  return squares > 0;
}

SimilarityIndex::SimilarityIndex(const int8_t* rows, const int8_t* fine, size_t count, size_t dim,
                                 std::vector<float> scales)
    : scales_(std::move(scales)), dim_(dim) {
  if (count == 0) throw InvalidArgument("rows: found none, allowed: 1 or more");
  if (dim_ == 0 || dim_ > kMostDimensions) {
    throw InvalidArgument("rows: found " + std::to_string(dim_) + " columns, allowed: 1 to " +
                          std::to_string(kMostDimensions));
  }
  if (scales_.size() != count) {
    throw InvalidArgument("scales: found " + std::to_string(scales_.size()) + " for " + std::to_string(count) +
                          " rows, allowed: one for each");
  }
  const auto bad = std::ranges::find_if(scales_, [](float s) { return s != 0 && !(s >= kLeastScale && s <= 1); });
  if (bad != scales_.end()) {
    throw InvalidArgument("scales: found " + std::to_string(*bad) + " at row " + std::to_string(bad - scales_.begin()) +
                          ", allowed: 0, or a millionth to 1");
  }
  blocks_ = interleave(rows, "rows", static_cast<int32_t>(kLargest));
  measure(rows, fine);
  if (fine == nullptr) return;
  fine_blocks_ = interleave(fine, "fine", std::min((fine_steps(dim_) + 1) / 2, static_cast<int32_t>(kLargest)));
  factors_ = scales_;
  const auto steps = static_cast<float>(fine_steps(dim_));
  for (float& factor : factors_) factor /= steps;
}

void SimilarityIndex::measure(const int8_t* rows, const int8_t* fine) {
  const double steps = fine_steps(dim_);
  for (size_t i = 0; i < size(); ++i) {
    double squares = 0;
    double fine_squares = 0;
    for (size_t j = 0; j < dim_; ++j) {
      const double rest = fine == nullptr ? 0.0 : fine[i * dim_ + j] / steps;
      const double x = rows[i * dim_ + j] + rest;
      squares += x * x;
      fine_squares += rest * rest;
    }
    const auto scale = static_cast<double>(scales_[i]);
    longest_ = std::max(longest_, scale * std::sqrt(squares));
    longest_fine_ = std::max(longest_fine_, scale * std::sqrt(fine_squares));
  }
}

std::vector<uint8_t> SimilarityIndex::interleave(const int8_t* rows, const char* name, int32_t most) const {
  std::vector<uint8_t> blocks(stride() * groups() * kGroup, kOffset);
  for (size_t i = 0; i < size(); ++i) {
    for (size_t j = 0; j < dim_; ++j) {
      const int8_t x = rows[i * dim_ + j];
      if (x < -most || x > most) {
        throw InvalidArgument(std::string(name) + ": found " + std::to_string(x) + " at row " + std::to_string(i) +
                              ", allowed: " + std::to_string(-most) + " to " + std::to_string(most));
      }
      blocks[place(i, j)] = static_cast<uint8_t>(static_cast<uint8_t>(x) ^ kOffset);  // x + 128
    }
  }
  return blocks;
}

void SimilarityIndex::row(size_t i, int8_t* out) const noexcept {
  for (size_t j = 0; j < dim_; ++j) out[j] = static_cast<int8_t>(blocks_[place(i, j)] - kOffset);
}

void SimilarityIndex::deinterleave(const std::vector<uint8_t>& blocks, int8_t* out) const {
  for (size_t i = 0; i < size(); ++i) {
    for (size_t j = 0; j < dim_; ++j) out[i * dim_ + j] = static_cast<int8_t>(blocks[place(i, j)] - kOffset);
  }
}

size_t SimilarityIndex::stride() const noexcept { return round_up(size(), kBlockRows); }

size_t SimilarityIndex::groups() const noexcept { return (dim_ + kGroup - 1) / kGroup; }

size_t SimilarityIndex::width() const noexcept { return groups() * kGroup; }

size_t SimilarityIndex::place(size_t row, size_t element) const noexcept {
  const size_t group = row / kBlockRows * groups() + element / kGroup;
  return (group * kBlockRows + row % kBlockRows) * kGroup + element % kGroup;
}

void SimilarityIndex::read_queries(const float* rows, size_t first, size_t count, QuantisedQueries& queries) const {
  const size_t width = this->width();
  queries.rows.assign(count * width, 0);
  queries.fine.assign(is_fine() ? count * width : 0, 0);
  queries.starts.assign(count, 0);
  queries.fine_starts.assign(is_fine() ? count : 0, 0);
  queries.scales.resize(count);
  for (size_t q = 0; q < count; ++q) {
    int8_t* query = queries.rows.data() + q * width;
    int8_t* fine = is_fine() ? queries.fine.data() + q * width : nullptr;
    queries.scales[q] = quantise(rows + q * dim_, dim_, first + q, query, fine);
    for (size_t j = 0; j < dim_; ++j) queries.starts[q] -= kOffset * query[j];
    for (size_t j = 0; fine != nullptr && j < dim_; ++j) queries.fine_starts[q] -= kOffset * fine[j];
  }
}

double SimilarityIndex::dot(size_t row, const double* query) const noexcept {
  const size_t first = place(row, 0);
  const int32_t steps = is_fine() ? fine_steps(dim_) : 1;
  double lanes[kGroup] = {};
  for (size_t g = 0; g < groups(); ++g) {
    const size_t at = first + g * kBlockRows * kGroup;
    for (size_t k = 0; k < kGroup; ++k) {
      int32_t x = steps * (blocks_[at + k] - kOffset);
      if (is_fine()) x += fine_blocks_[at + k] - kOffset;
      lanes[k] += static_cast<double>(x) * query[g * kGroup + k];
    }
  }
  return static_cast<double>(scales_[row]) / steps * ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3]));
}

void SimilarityIndex::read_row(size_t row, float* out) const noexcept {
  const int32_t steps = is_fine() ? fine_steps(dim_) : 1;
  for (size_t j = 0; j < dim_; ++j) {
    const size_t at = place(row, j);
    int32_t x = steps * (blocks_[at] - kOffset);
    if (is_fine()) x += fine_blocks_[at] - kOffset;
    out[j] = static_cast<float>(static_cast<double>(scales_[row]) / steps * x);
  }
}

void SimilarityIndex::multiply(const std::vector<uint8_t>& blocks, const std::vector<int8_t>& queries,
                               const std::vector<int32_t>& starts, int32_t* out) const {
  active_kernels().dot_blocks_i8(blocks.data(), stride() / kBlockRows, groups(), queries.data(), starts.data(),
                                 starts.size(), out, stride());
}

void SimilarityIndex::dots(QuantisedQueries& queries, int32_t* out) const {
  multiply(blocks_, queries.rows, queries.starts, out);
  if (!is_fine()) return;
  // The product of the two fine parts is below what a step of either is off.
  const size_t count = queries.starts.size() * stride();
  const int32_t steps = fine_steps(dim_);
  queries.crossed.resize(2 * count);
  int32_t* crossed = queries.crossed.data();
  multiply(blocks_, queries.fine, queries.fine_starts, crossed);
  multiply(fine_blocks_, queries.rows, queries.starts, crossed + count);
  for (size_t i = 0; i < count; ++i) out[i] = steps * out[i] + crossed[i] + crossed[count + i];
}

}  // namespace fastroute
