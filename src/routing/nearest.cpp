#include "routing/nearest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "elo/bradley_terry.h"
#include "runtime/error.h"
#include "runtime/simd.h"

namespace fastroute {
namespace {

constexpr size_t kTogether = 64;  // rows that are passed over where the best of them is too far

// More than all roundings to float between the integers and a similarity, relative to the lengths of the vectors.
constexpr double kFloatSlack = 1.0 / (1 << 19);

bool is_likelier(const Candidate& a, const Candidate& b) { return a.similarity > b.similarity; }

bool is_nearer(const Candidate& a, const Candidate& b) {
  return a.similarity > b.similarity || (a.similarity == b.similarity && a.row < b.row);
}

// The k-th largest, which the first k are not below.
float kth_largest(std::vector<Candidate>& candidates, size_t k) {
  const auto kth = candidates.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(candidates.begin(), kth, candidates.end(), is_likelier);
  return kth->similarity;
}

// unit = the query's unit vector, padded with zeros; of zeros where it has no direction.
void read_unit(const SimilarityIndex& index, const float* query, std::vector<double>& unit) {
  double squares = 0;
  for (size_t j = 0; j < index.dim(); ++j) squares += static_cast<double>(query[j]) * static_cast<double>(query[j]);
  unit.assign(index.width(), 0.0);
  if (squares == 0) return;
  const double length = std::sqrt(squares);
  for (size_t j = 0; j < index.dim(); ++j) unit[j] = static_cast<double>(query[j]) / length;
}

// How far query q's dots are off at most, as similarities.
double error_bound(const SimilarityIndex& index, const QuantisedQueries& queries, size_t q,
                   const std::vector<double>& unit) {
  const size_t width = index.width();
  const auto scale = static_cast<double>(queries.scales[q]);
  const double steps = index.is_fine() ? fine_steps(index.dim()) : 1;
  double error = 0;
  double fine = 0;
  for (size_t j = 0; j < index.dim(); ++j) {
    const double rest = index.is_fine() ? scale * queries.fine[q * width + j] / steps : 0.0;
    const double off = unit[j] - scale * queries.rows[q * width + j] - rest;
    error += off * off;
    fine += rest * rest;
  }
  // dots() leaves out the product of the two fine parts.
  return std::sqrt(error) * index.longest() + std::sqrt(fine) * index.longest_fine() +
         kFloatSlack * (index.longest() + index.longest_fine());
}

// Rows whose estimates, dots times factors, are less than `margin` below the k-th largest, and perhaps a few more.
void select(const SimilarityIndex& index, const int32_t* dots, size_t k, float margin,
            std::vector<Candidate>& candidates) {
  const auto& kernels = active_kernels();
  const float* factors = index.factors();
  candidates.clear();
  float least = -std::numeric_limits<float>::infinity();
  size_t room = 2 * k + kTogether;
  for (size_t begin = 0; begin < index.size(); begin += kTogether) {
    const size_t n = std::min(kTogether, index.size() - begin);
    if (kernels.max_scaled_i32(dots + begin, factors + begin, n) < least) continue;
    for (size_t i = begin; i < begin + n; ++i) {
      const float estimate = static_cast<float>(dots[i]) * factors[i];
      if (estimate >= least) candidates.push_back({estimate, static_cast<int64_t>(i)});
    }
    if (candidates.size() < room) continue;
    least = kth_largest(candidates, k) - margin;
    std::erase_if(candidates, [least](const Candidate& c) { return c.similarity < least; });
    room = std::max(room, 2 * candidates.size());
  }
}

void measure_row(const SimilarityIndex& index, const std::vector<double>& unit, Candidate& candidate) {
  const double similarity = index.dot(static_cast<size_t>(candidate.row), unit.data());
  candidate.similarity = static_cast<float>(similarity) + 0.0F;  // no minus zero
}

void write_nearest(std::vector<Candidate>& candidates, size_t k, int64_t* ids, float* similarities) {
  const auto kth = candidates.begin() + static_cast<std::ptrdiff_t>(k);
  if (kth != candidates.end()) std::nth_element(candidates.begin(), kth, candidates.end(), is_nearer);
  std::sort(candidates.begin(), kth, is_nearer);
  for (size_t i = 0; i < k; ++i) {
    ids[i] = candidates[i].row;
    similarities[i] = candidates[i].similarity;
  }
}

void nearest_to(const SimilarityIndex& index, const float* query, size_t q, size_t k, NearestWorkspace& workspace,
                int64_t* ids, float* similarities) {
  const auto scale = static_cast<double>(workspace.queries.scales[q]);
  if (scale == 0) {
    for (size_t i = 0; i < k; ++i) ids[i] = static_cast<int64_t>(i);
    std::fill_n(similarities, k, 0.0F);
    return;
  }
  read_unit(index, query, workspace.unit);
  const double bound = error_bound(index, workspace.queries, q, workspace.unit) / scale;
  auto& candidates = workspace.candidates;
  select(index, workspace.dots.get() + q * index.stride(), k, static_cast<float>(2 * bound), candidates);
  const auto measure = [&](Candidate& candidate) { measure_row(index, workspace.unit, candidate); };
  // The likeliest first: the least similar of them rules out most of the others.
  kth_largest(candidates, k);
  float worst = std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < k; ++i) {
    measure(candidates[i]);
    worst = std::min(worst, candidates[i].similarity);
  }
  const double least = static_cast<double>(worst) / scale - bound;
  size_t count = k;
  for (size_t i = k; i < candidates.size(); ++i) {
    if (static_cast<double>(candidates[i].similarity) < least) continue;
    candidates[count] = candidates[i];
    measure(candidates[count++]);
  }
  candidates.resize(count);
  write_nearest(candidates, k, ids, similarities);
}

}  // namespace

void nearest_rows(const SimilarityIndex& index, const float* rows, size_t k, NearestWorkspace& workspace, int64_t* ids,
                  float* similarities) {
  multiply(index, workspace);
  for (size_t q = 0; q < workspace.queries.scales.size(); ++q) {
    nearest_to(index, rows + q * index.dim(), q, k, workspace, ids + q * k, similarities + q * k);
  }
}

void rank_rows(const SimilarityIndex& index, const float* query, const int64_t* rows, size_t count, size_t k,
               NearestWorkspace& workspace, int64_t* ids, float* similarities) {
  read_unit(index, query, workspace.unit);
  auto& candidates = workspace.candidates;
  candidates.resize(count);
  for (size_t i = 0; i < count; ++i) {
    candidates[i].row = rows[i];
    measure_row(index, workspace.unit, candidates[i]);
  }
  write_nearest(candidates, k, ids, similarities);
}

void require_neighbours(const Neighbours& neighbours, size_t size, size_t row) {
  const auto place = [row](size_t i) {
    return " at row " + std::to_string(row) + ", column " + std::to_string(i) + ", allowed: ";
  };
  for (size_t i = 0; i < neighbours.k; ++i) {
    const int64_t id = neighbours.ids[i];
    if (id < 0 || static_cast<size_t>(id) >= size) {
      throw InvalidArgument("ids: found " + std::to_string(id) + place(i) + "0 to " + std::to_string(size - 1));
    }
    const float similarity = neighbours.similarities[i];
    if (!std::isfinite(similarity)) {
      throw InvalidArgument("similarities: found " + std::to_string(similarity) + place(i) + "finite numbers");
    }
    if (i > 0 && similarity > neighbours.similarities[i - 1]) {
      throw InvalidArgument("similarities: found " + std::to_string(similarity) + place(i) +
                            "not more than the one before it, " + std::to_string(neighbours.similarities[i - 1]));
    }
  }
}

double log_of_base(double base) {
  constexpr int kBits = 40;
  return std::ldexp(std::nearbyint(std::ldexp(std::log(base), kBits)), -kBits);
}

void weigh_neighbours(const Neighbours& neighbours, double slope, double least, double* weights) {
  const auto best = static_cast<double>(neighbours.similarities[0]);
  for (size_t i = 0; i < neighbours.k; ++i) {
    const double behind = best - static_cast<double>(neighbours.similarities[i]);
    weights[i] = std::max(elo::exp_of_minus(slope * behind), least);
  }
}

void NearestSearch::find(const float* rows, size_t first, size_t count, size_t k, int64_t* ids, float* similarities) {
  for_passes(*index_, count, workspaces_, [&](size_t i, size_t n, NearestWorkspace& workspace) {
    const float* queries = rows + i * index_->dim();
    index_->read_queries(queries, first + i, n, workspace.queries);
    nearest_rows(*index_, queries, k, workspace, ids + i * k, similarities + i * k);
  });
}

}  // namespace fastroute
