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

// Steps of the fine part within one of the coarse part: 254, or what lets a dot product of dim elements fit 32 bits.
int32_t fine_steps(size_t dim) noexcept;

// The unit vector of `row` as int8: element j is about scale * (out[j] + fine[j] / fine_steps(dim)); fine may be null.
// Returns the scale: a 127th of the largest element, 0 for zeros. Throws InvalidArgument that names row `index` of the
// embeddings where it holds a NaN or Inf.
float quantise(const float* row, size_t dim, size_t index, int8_t* out, int8_t* fine);

// out = the unit vector of `row`, zeros where it is zeros: then it returns false. Throws as quantise() does.
bool unit_vector(const float* row, size_t dim, size_t index, float* out);

// Quantised queries, laid out for SimilarityIndex::dots.
struct QuantisedQueries {
  std::vector<int8_t> rows, fine;  // each of whole groups; fine where the index is
  std::vector<int32_t> starts, fine_starts;
  std::vector<int32_t> crossed;  // dot products of a coarse and a fine part
  std::vector<float> scales;
};

// Immutable once built; any number of threads may use it at once.
class SimilarityIndex {
 public:
  // `rows` is count x dim, row-major, of elements from -127 to 127; row i is scales[i] times them. `fine` is the like
  // and makes cosines a hundred times as exact for three times the work; it may be null. Throws InvalidArgument where
  // there is no row, dim is 0 or above kMostDimensions, a row holds -128, a fine part is beyond half a step of the
  // coarse one, sizes disagree, or a scale is neither 0 nor from kLeastScale to 1.
  SimilarityIndex(const int8_t* rows, const int8_t* fine, size_t count, size_t dim, std::vector<float> scales);

  size_t size() const noexcept { return scales_.size(); }
  size_t dim() const noexcept { return dim_; }
  bool is_fine() const noexcept { return !fine_blocks_.empty(); }
  const float* scales() const noexcept { return scales_.data(); }

  // What dots() is to be multiplied by, besides the query's scale.
  const float* factors() const noexcept { return is_fine() ? factors_.data() : scales_.data(); }

  // Rows that dots() writes for each query: size(), rounded up to whole blocks.
  size_t stride() const noexcept;

  // Reads count rows of dim() floats into `queries`; `first` is the number of the first one, for messages.
  void read_queries(const float* rows, size_t first, size_t count, QuantisedQueries& queries) const;

  // out[q * stride() + i] = query q . row i, as integers. Their product with the row's factor and the query's scale is
  // the cosine similarity.
  void dots(QuantisedQueries& queries, int32_t* out) const;

  // The dot product of a row as it is stored with width() numbers, of which those from dim() on are 0.
  double dot(size_t row, const double* query) const noexcept;

  // out = a row as it is stored; its coarse part alone, as it was given.
  void read_row(size_t row, float* out) const noexcept;
  void row(size_t i, int8_t* out) const noexcept;

  // dim(), rounded up to whole groups.
  size_t width() const noexcept;

  // Lengths of the longest row and of the longest fine part, as they are stored.
  double longest() const noexcept { return longest_; }
  double longest_fine() const noexcept { return longest_fine_; }

  // out = the rows as they were given; their fine parts, where it has them.
  void rows(int8_t* out) const { deinterleave(blocks_, out); }
  void fine(int8_t* out) const { deinterleave(fine_blocks_, out); }

 private:
  size_t groups() const noexcept;
  size_t place(size_t row, size_t element) const noexcept;
  std::vector<uint8_t> interleave(const int8_t* rows, const char* name, int32_t most) const;
  void measure(const int8_t* rows, const int8_t* fine);
  void deinterleave(const std::vector<uint8_t>& blocks, int8_t* out) const;
  void multiply(const std::vector<uint8_t>& blocks, const std::vector<int8_t>& queries,
                const std::vector<int32_t>& starts, int32_t* out) const;

  std::vector<uint8_t> blocks_, fine_blocks_;
  std::vector<float> scales_, factors_;
  size_t dim_;
  double longest_ = 0;
  double longest_fine_ = 0;
};

}  // namespace fastroute
