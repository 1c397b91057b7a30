// Similarity-weighted Elo of the nearest prompts alone.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "kernels.h"
#include "routing/similarity_weighted.h"
#include "runtime/error.h"

namespace fastroute {
namespace {

constexpr size_t kPerTask = 16;
const double kLeastWeight = std::ldexp(1.0, static_cast<int>(kernels::kLeastExponent));

}  // namespace

void SimilarityWeighted::require_neighbourhood() const {
  const auto [neighbours, shrinkage] = neighbourhood_;
  if (!(shrinkage >= 0 && std::isfinite(shrinkage))) {
    throw InvalidArgument("shrinkage: found " + std::to_string(shrinkage) + ", allowed: 0 or more, finite");
  }
  if (neighbours == 0 && shrinkage > 0) {
    throw InvalidArgument("shrinkage: found " + std::to_string(shrinkage) + ", allowed: 0 without neighbours");
  }
  if (neighbours > 0 && shrinkage == 0 && neighbours < std::min(kFewestNeighbours, index_->size())) {
    throw InvalidArgument("neighbours: found " + std::to_string(neighbours) +
                          " without shrinkage, allowed: 0 (all prompts), " + std::to_string(kFewestNeighbours) +
                          " or more, as many as there are prompts, or shrinkage above 0");
  }
}

double SimilarityWeighted::rate_near(const Neighbours& neighbours, SimilarityWorkspace& workspace) const {
  const auto best = static_cast<double>(neighbours.similarities[0]);
  // A query of zeros is at 0 to all, and which of them are given says nothing.
  const bool similar = normalised_ ? best > 0 : best != 0 || neighbours.similarities[neighbours.k - 1] != 0;
  if (constant_ || !similar) return global_rate_;
  const double slope = log_base_ / (normalised_ ? best : 1.0);
  workspace.neighbour_weights.resize(neighbours.k);
  weigh_neighbours(neighbours, slope, kLeastWeight, workspace.neighbour_weights.data());
  auto& sums = workspace.sums;
  sums.resize(counts_->sides() * counts_->sides());
  counts_->weigh_rows(neighbours.ids, workspace.neighbour_weights.data(), neighbours.k, sums.data());
  if (neighbourhood_.shrinkage > 0) {
    const auto& totals = counts_->totals();
    const double share = neighbourhood_.shrinkage / std::accumulate(totals.begin(), totals.end(), 0.0);
    for (size_t c = 0; c < sums.size(); ++c) sums[c] += share * totals[c];
  }
  const auto among = elo::connected_with(sums.data(), counts_->sides(), sides_[strong_]);
  if (!std::ranges::binary_search(among, sides_[weak_])) return global_rate_;
  return rate_of_sums(among, workspace);
}

// read(i, n, workspace) reads the queries of the prompts i .. i + n and returns their embeddings.
template <class Read>
void SimilarityWeighted::near_passes(size_t count, const Read& read, float* out) const {
  const size_t k = std::min(neighbourhood_.neighbours, index_->size());
  for_passes(*index_, count, workspaces_, [&](size_t first, size_t n, SimilarityWorkspace& workspace) {
    const float* rows = read(first, n, workspace);
    if (constant_) {
      std::fill_n(out + first, n, static_cast<float>(global_rate_));
      return;
    }
    workspace.ids.resize(n * k);
    workspace.similarities.resize(n * k);
    nearest_rows(*index_, rows, k, workspace, workspace.ids.data(), workspace.similarities.data());
    for (size_t q = 0; q < n; ++q) {
      const Neighbours found = {workspace.ids.data() + q * k, workspace.similarities.data() + q * k, k};
      out[first + q] = static_cast<float>(rate_near(found, workspace));
    }
  });
}

void SimilarityWeighted::near_batch(const std::string_view* texts, size_t count, float* out) const {
  const auto read = [&](size_t i, size_t n, SimilarityWorkspace& workspace) {
    embed_texts(encoder_.get(), texts + i, n, workspace);
    index_->read_queries(workspace.embeddings.data(), i, n, workspace.queries);
    return static_cast<const float*>(workspace.embeddings.data());
  };
  near_passes(count, read, out);
}

void SimilarityWeighted::near_embeddings(const float* rows, size_t first, size_t count, float* out) const {
  const auto read = [&](size_t i, size_t n, SimilarityWorkspace& workspace) {
    index_->read_queries(rows + i * dim(), first + i, n, workspace.queries);
    return rows + i * dim();
  };
  near_passes(count, read, out);
}

void SimilarityWeighted::score_neighbours(const Neighbours& all, size_t first, size_t count, float* out) const {
  if (neighbourhood_.neighbours == 0) {
    throw InvalidArgument("ids: found neighbours for a scorer of all prompts; allowed where it has neighbours above 0");
  }
  parallel_for(count, kPerTask, [&](size_t begin, size_t end) {
    auto workspace = workspaces_.take();
    for (size_t q = begin; q < end; ++q) {
      const Neighbours found = {all.ids + q * all.k, all.similarities + q * all.k, all.k};
      require_neighbours(found, index_->size(), first + q);
      out[q] = static_cast<float>(rate_near(found, *workspace));
    }
    workspaces_.give_back(std::move(workspace));
  });
}

}  // namespace fastroute
