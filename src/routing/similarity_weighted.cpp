#include "routing/similarity_weighted.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/simd.h"
#include "runtime/thread_pool.h"

namespace fastroute {
namespace {

constexpr size_t kMostQueries = 64;
constexpr size_t kLeastQueries = 8;
constexpr size_t kMostBytes = 256 << 20;  // of dot products that are kept, all threads together

void select(const double* sums, size_t sides, const std::vector<size_t>& among, std::vector<double>& wins) {
  const size_t n = among.size();
  wins.resize(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) wins[i * n + j] = sums[among[i] * sides + among[j]];
  }
}

Error not_converged() {
  return Error("similarity-weighted Elo: the fit does not converge; some tier wins or loses (nearly) every battle");
}

}  // namespace

std::unique_ptr<SimilarityWorkspace> SimilarityWorkspaces::take() {
  {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock.owns_lock() && !waiting_.empty()) {
      auto workspace = std::move(waiting_.back());
      waiting_.pop_back();
      return workspace;
    }
  }
  return std::make_unique<SimilarityWorkspace>();
}

void SimilarityWorkspaces::give_back(std::unique_ptr<SimilarityWorkspace> workspace) {
  constexpr size_t kKept = 1 << 16;
  if (workspace->text.ids.capacity() > kKept) workspace->text.ids = {};
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock.owns_lock() && waiting_.size() < num_threads()) waiting_.push_back(std::move(workspace));
}

SimilarityWeighted::SimilarityWeighted(std::shared_ptr<const SimilarityIndex> index,
                                       std::shared_ptr<const BattleCounts> counts,
                                       std::shared_ptr<const StaticEncoder> encoder, size_t strong, size_t weak,
                                       Temperature temperature)
    : index_(std::move(index)),
      counts_(std::move(counts)),
      encoder_(std::move(encoder)),
      exponent_(std::log2(temperature.base)),
      normalised_(temperature.normalised) {
  if (counts_->prompts() != index_->size()) {
    throw InvalidArgument("counts: found " + std::to_string(counts_->prompts()) + " prompts, allowed: the index's " +
                          std::to_string(index_->size()));
  }
  if (encoder_ && encoder_->dim() != index_->dim()) {
    throw InvalidArgument("encoder: found " + std::to_string(encoder_->dim()) + " dimensions, allowed: the index's " +
                          std::to_string(index_->dim()));
  }
  if (!(temperature.base >= 1 && temperature.base <= kLargestBase)) {
    throw InvalidArgument("base: found " + std::to_string(temperature.base) + ", allowed: 1 to 1e30");
  }
  const size_t tiers = counts_->tiers();
  if (strong >= tiers || weak >= tiers) {
    throw InvalidArgument("tier: found " + std::to_string(std::max(strong, weak)) + ", allowed: 0 to " +
                          std::to_string(tiers - 1));
  }
  const double* totals = counts_->totals().data();
  const auto compared = elo::standing(totals, counts_->sides(), strong, weak);
  if (compared == elo::Standing::kUnknown) {
    throw InvalidArgument("strong, weak: found tiers " + std::to_string(strong) + " and " + std::to_string(weak) +
                          ", which no chain of wins compares; allowed: tiers with battles against each other, or "
                          "against others in between");
  }
  constant_ = strong == weak || compared != elo::Standing::kRated;
  if (constant_) {
    global_rate_ = strong == weak ? 0.5 : (compared == elo::Standing::kAbove ? 1.0 : 0.0);
    return;
  }
  sides_ = elo::connected_with(totals, counts_->sides(), strong);
  const auto place = [this](size_t side) {
    return static_cast<size_t>(std::ranges::find(sides_, side) - sides_.begin());
  };
  strong_ = place(strong);
  weak_ = place(weak);
  SimilarityWorkspace workspace;
  select(totals, counts_->sides(), sides_, workspace.wins);
  start_.assign(sides_.size(), 0.0);
  if (!elo::solve_strengths(workspace.wins.data(), sides_.size(), start_.data(), workspace.solver).converged) {
    throw not_converged();
  }
  global_rate_ = elo::win_rate(start_[strong_], start_[weak_]);
}

void SimilarityWeighted::require_encoder() const {
  if (!encoder_) {
    throw InvalidArgument("prompts: this router was trained on embeddings and has no text encoder; score embeddings");
  }
}

size_t SimilarityWeighted::queries_per_pass(size_t count) const {
  const size_t threads = num_threads();
  const size_t fitting = kMostBytes / (threads * index_->stride() * sizeof(int32_t));
  const size_t most = std::clamp(fitting, kLeastQueries, kMostQueries);
  return std::clamp((count + threads - 1) / threads, size_t{1}, most);
}

double SimilarityWeighted::rate_of(const int32_t* dots, float query_scale, SimilarityWorkspace& workspace) const {
  const auto& kernels = active_kernels();
  const size_t prompts = index_->size();
  const auto scale = static_cast<double>(query_scale);
  const auto best = static_cast<double>(kernels.max_scaled_i32(dots, index_->factors(), prompts));
  if (constant_ || scale == 0 || (normalised_ && !(best > 0))) return global_rate_;
  // dot * factor of its row is the similarity over the query's scale, which cancels where it is normalised.
  const double factor = normalised_ ? exponent_ / best : exponent_ * scale;
  kernels.similarity_weights(dots, index_->factors(), static_cast<float>(factor), static_cast<float>(-factor * best),
                             prompts, workspace.weights.data());
  counts_->weigh(workspace.weights.data(), workspace.sums.data());
  select(workspace.sums.data(), counts_->sides(), sides_, workspace.wins);
  workspace.strengths = start_;
  double* strengths = workspace.strengths.data();
  if (!elo::solve_strengths(workspace.wins.data(), sides_.size(), strengths, workspace.solver).converged) {
    throw not_converged();
  }
  return elo::win_rate(strengths[strong_], strengths[weak_]);
}

void SimilarityWeighted::score_queries(SimilarityWorkspace& workspace, float* out) const {
  const size_t count = workspace.queries.scales.size();
  const size_t stride = index_->stride();
  if (workspace.dots_capacity < count * stride) {
    workspace.dots_capacity = 0;
    workspace.dots = std::make_unique_for_overwrite<int32_t[]>(count * stride);
    workspace.dots_capacity = count * stride;
  }
  workspace.weights.resize(stride);
  workspace.sums.resize(counts_->sides() * counts_->sides());
  if (!constant_) index_->dots(workspace.queries, workspace.dots.get());
  for (size_t q = 0; q < count; ++q) {
    out[q] = static_cast<float>(rate_of(workspace.dots.get() + q * stride, workspace.queries.scales[q], workspace));
  }
}

// read(i, n, workspace) makes the queries of the prompts i .. i + n.
template <class Read>
void SimilarityWeighted::score_passes(size_t count, const Read& read, float* out) const {
  const size_t together = queries_per_pass(count);
  parallel_for(count, together, [&](size_t begin, size_t end) {
    auto workspace = workspaces_.take();
    for (size_t i = begin; i < end; i += together) {
      read(i, std::min(together, end - i), *workspace);
      score_queries(*workspace, out + i);
    }
    workspaces_.give_back(std::move(workspace));
  });
}

void SimilarityWeighted::score_batch(const std::string_view* texts, size_t count, float* out) const {
  require_encoder();
  const auto read = [&](size_t first, size_t n, SimilarityWorkspace& workspace) {
    workspace.embeddings.resize(n * dim());
    for (size_t q = 0; q < n; ++q) {
      encoder_->embed(texts[first + q], workspace.text, workspace.embeddings.data() + q * dim());
    }
    index_->read_queries(workspace.embeddings.data(), first, n, workspace.queries);
  };
  score_passes(count, read, out);
}

float SimilarityWeighted::score(std::string_view utf8) const {
  float out = 0;
  score_batch(&utf8, 1, &out);
  return out;
}

void SimilarityWeighted::score_embeddings(const float* rows, size_t first, size_t count, float* out) const {
  const auto read = [&](size_t i, size_t n, SimilarityWorkspace& workspace) {
    index_->read_queries(rows + i * dim(), first + i, n, workspace.queries);
  };
  score_passes(count, read, out);
}

}  // namespace fastroute
