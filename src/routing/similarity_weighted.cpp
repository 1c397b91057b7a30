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

SimilarityWeighted::SimilarityWeighted(std::shared_ptr<const SimilarityIndex> index,
                                       std::shared_ptr<const BattleCounts> counts,
                                       std::shared_ptr<const StaticEncoder> encoder, size_t strong, size_t weak,
                                       Temperature temperature, Neighbourhood neighbourhood,
                                       std::shared_ptr<const BattleMoments> moments)
    : index_(std::move(index)),
      counts_(std::move(counts)),
      encoder_(std::move(encoder)),
      exponent_(std::log2(temperature.base)),
      log_base_(log_of_base(temperature.base)),
      normalised_(temperature.normalised),
      neighbourhood_(neighbourhood) {
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
  require_neighbourhood();
  const size_t tiers = counts_->tiers();
  if (strong >= tiers || weak >= tiers) {
    throw InvalidArgument("tier: found " + std::to_string(std::max(strong, weak)) + ", allowed: 0 to " +
                          std::to_string(tiers - 1));
  }
  if (moments) hold_moments(std::move(moments));
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
  if (moments_ && !index_->is_fine()) correction_.emplace(*moments_, *index_, *counts_);
}

SimilarityWeighted::Largest SimilarityWeighted::largest_product(const int32_t* dots) const {
  constexpr size_t kBlock = 2048;
  const auto& kernels = active_kernels();
  Largest largest{kernels.max_scaled_i32(dots, index_->factors(), std::min(kBlock, index_->size())), 0};
  for (size_t begin = kBlock; begin < index_->size(); begin += kBlock) {
    const size_t count = std::min(kBlock, index_->size() - begin);
    const float product = kernels.max_scaled_i32(dots + begin, index_->factors() + begin, count);
    if (product > largest.product) largest = {product, begin};
  }
  return largest;
}

double SimilarityWeighted::rate_of(const int32_t* dots, size_t query, SimilarityWorkspace& workspace) const {
  const auto& kernels = active_kernels();
  const size_t prompts = index_->size();
  const auto scale = static_cast<double>(workspace.queries.scales[query]);
  const Largest largest = largest_product(dots);
  const auto best = static_cast<double>(largest.product);
  if (scale == 0 || (normalised_ && !(best > 0))) return global_rate_;
  // dot * factor of its row is the similarity over the query's scale, which cancels where it is normalised.
  double factor = exponent_ * scale;
  if (normalised_) factor = exponent_ / (correction_ ? exact_best(dots, largest, query, workspace) : best);
  kernels.similarity_weights(dots, index_->factors(), static_cast<float>(factor), static_cast<float>(-factor * best),
                             prompts, workspace.weights.data());
  counts_->weigh(workspace.weights.data(), workspace.sums.data());
  if (correction_) correct_sums(*correction_, query, factor / scale, workspace);
  return rate_of_sums(sides_, workspace);
}

// Of the fit among some of sides_, the pair among them.
double SimilarityWeighted::rate_of_sums(const std::vector<size_t>& among, SimilarityWorkspace& workspace) const {
  select(workspace.sums.data(), counts_->sides(), among, workspace.wins);
  workspace.strengths.clear();
  for (size_t i = 0; i < sides_.size(); ++i) {
    if (std::ranges::binary_search(among, sides_[i])) workspace.strengths.push_back(start_[i]);
  }
  double* strengths = workspace.strengths.data();
  if (!elo::solve_strengths(workspace.wins.data(), among.size(), strengths, workspace.solver).converged) {
    throw not_converged();
  }
  const auto of = [&](size_t place) {
    return strengths[std::ranges::lower_bound(among, sides_[place]) - among.begin()];
  };
  return elo::win_rate(of(strong_), of(weak_));
}

void SimilarityWeighted::score_queries(SimilarityWorkspace& workspace, float* out) const {
  const size_t count = workspace.queries.scales.size();
  const size_t stride = index_->stride();
  workspace.weights.resize(stride);
  workspace.sums.resize(counts_->sides() * counts_->sides());
  if (constant_) {
    std::fill_n(out, count, static_cast<float>(global_rate_));
    return;
  }
  multiply(*index_, workspace);
  for (size_t q = 0; q < count; ++q) {
    out[q] = static_cast<float>(rate_of(workspace.dots.get() + q * stride, q, workspace));
  }
}

// read(i, n, workspace) makes the queries of the prompts i .. i + n.
template <class Read>
void SimilarityWeighted::score_passes(size_t count, const Read& read, float* out) const {
  for_passes(*index_, count, workspaces_, [&](size_t i, size_t n, SimilarityWorkspace& workspace) {
    read(i, n, workspace);
    score_queries(workspace, out + i);
  });
}

void SimilarityWeighted::score_batch(const std::string_view* texts, size_t count, float* out) const {
  if (neighbourhood_.neighbours > 0) return near_batch(texts, count, out);
  const auto read = [&](size_t first, size_t n, SimilarityWorkspace& workspace) {
    embed_texts(encoder_.get(), texts + first, n, workspace);
    read_queries(workspace.embeddings.data(), first, n, workspace);
  };
  score_passes(count, read, out);
}

float SimilarityWeighted::score(std::string_view utf8) const {
  float out = 0;
  score_batch(&utf8, 1, &out);
  return out;
}

void SimilarityWeighted::score_embeddings(const float* rows, size_t first, size_t count, float* out) const {
  if (neighbourhood_.neighbours > 0) return near_embeddings(rows, first, count, out);
  const auto read = [&](size_t i, size_t n, SimilarityWorkspace& workspace) {
    read_queries(rows + i * dim(), first + i, n, workspace);
  };
  score_passes(count, read, out);
}

}  // namespace fastroute
