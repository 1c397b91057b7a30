// The rows of an index nearest to a query by cosine similarity: exact, though the index is int8.
//
// The similarity of row i is the dot product of the query's unit vector with the row as it is stored,
// scale_i * (coarse + fine / steps), summed in double and rounded to float. Rows as stored are unit vectors only up to
// their rounding, and are taken as they are. Nearest is the largest float, and of equal ones the first row.
//
// The integer dots of a pass are off by no more than a bound (Cauchy and Schwarz: the length of the query's rounding
// error times that of the longest row), so the rows that can be among the nearest are few, and only their similarities
// are computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "routing/index_passes.h"
#include "routing/similarity_index.h"

namespace fastroute {

struct Candidate {
  float similarity;
  int64_t row;
};

struct NearestWorkspace : PassWorkspace {
  std::vector<double> unit;
  std::vector<Candidate> candidates;
  std::vector<int64_t> ids;  // for those who score the neighbours of a pass
  std::vector<float> similarities;
};

// The k nearest rows of each query of a pass, which workspace.queries holds and whose embeddings are `rows`: ids and
// similarities are count x k, nearest first. k is from 1 to index.size(). A query of zeros is at similarity 0 to all.
void nearest_rows(const SimilarityIndex& index, const float* rows, size_t k, NearestWorkspace& workspace, int64_t* ids,
                  float* similarities);

// The k nearest of these rows alone, which are below index.size(). k is from 0 to count.
void rank_rows(const SimilarityIndex& index, const float* query, const int64_t* rows, size_t count, size_t k,
               NearestWorkspace& workspace, int64_t* ids, float* similarities);

// Neighbours of one query that somebody else found: k rows of the index, nearest first.
struct Neighbours {
  const int64_t* ids;
  const float* similarities;
  size_t k;
};

// Throws InvalidArgument that names row `row` of the arguments where an id is not one of an index of `size` rows, a
// similarity is NaN or infinite, or one is above the one before it.
void require_neighbours(const Neighbours& neighbours, size_t size, size_t row);

// The natural logarithm of the base of weights, without the last bits: the C library's own differ between processors.
double log_of_base(double base);

// weights[i] = max(exp(-slope * (first similarity - similarity i)), least) for i < k; slope is not negative.
void weigh_neighbours(const Neighbours& neighbours, double slope, double least, double* weights);

// nearest_rows() for any number of queries, on up to num_threads() threads. Any number of threads may use one at once.
class NearestSearch {
 public:
  explicit NearestSearch(const SimilarityIndex& index) : index_(&index) {}

  // `rows` is count x dim, the first one called number `first` in messages. Throws InvalidArgument that names a row
  // with a NaN or Inf; the outputs are then unspecified.
  void find(const float* rows, size_t first, size_t count, size_t k, int64_t* ids, float* similarities);

 private:
  const SimilarityIndex* index_;
  WorkspacePool<NearestWorkspace> workspaces_;
};

}  // namespace fastroute
