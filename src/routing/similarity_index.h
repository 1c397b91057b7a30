// An index of embeddings for cosine similarities with every one of them: int8 rows, 16 interleaved, read once for up to
// 64 queries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fastroute {

constexpr size_t kMostDimensions = 65536;  // beyond, a dot product might not fit 32 bits

// Below any scale of a unit vector; weights could overflow otherwise.
constexpr float kLeastScale = 1e-6F;

// The unit vector of `row` as int8: element j is about scale * out[j]. Returns the scale: a 127th of the largest
// element, 0 for zeros. Throws InvalidArgument that names row `index` of the embeddings where it holds a NaN or Inf.
float quantise(const float* row, size_t dim, size_t index, int8_t* out);

// Quantised queries, laid out for SimilarityIndex::dots.
struct QuantisedQueries {
  std::vector<int8_t> rows;  // each of padded_dim() elements
  std::vector<int32_t> starts;
  std::vector<float> scales;
};

// Immutable once built; any number of threads may use it at once.
class SimilarityIndex {
 public:
  // `rows` is count x dim, row-major, of elements from -127 to 127; row i is scales[i] times them. Throws
  // InvalidArgument where there is no row, dim is 0 or above kMostDimensions, a row holds -128, sizes disagree, or a
  // scale is neither 0 nor from kLeastScale to 1.
  SimilarityIndex(const int8_t* rows, size_t count, size_t dim, std::vector<float> scales);

  size_t size() const noexcept { return scales_.size(); }
  size_t dim() const noexcept { return dim_; }
  const float* scales() const noexcept { return scales_.data(); }

  // Rows that dots() writes for each query: size(), rounded up to whole blocks.
  size_t stride() const noexcept;

  // Reads count rows of dim() floats into `queries`; `first` is the number of the first one, for messages.
  void read_queries(const float* rows, size_t first, size_t count, QuantisedQueries& queries) const;

  // dots[q * stride() + i] = query q . row i, as integers. Their product with both scales is the cosine similarity.
  void dots(const QuantisedQueries& queries, int32_t* out) const;

  // out = the rows as they were given.
  void rows(int8_t* out) const;

 private:
  size_t groups() const noexcept;
  size_t place(size_t row, size_t element) const noexcept;

  std::vector<uint8_t> blocks_;
  std::vector<float> scales_;
  size_t dim_;
};

}  // namespace fastroute
