#include "routing/nearest_gains.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "runtime/error.h"

namespace fastroute {
namespace {

// Weights of so few neighbours say nothing about how much their gains vary.
constexpr double kOne = 1 + 1e-9;

constexpr size_t kPerTask = 64;

void require(bool holds, const char* name, double found, const char* allowed) {
  if (!holds) throw InvalidArgument(std::string(name) + ": found " + std::to_string(found) + ", allowed: " + allowed);
}

float score_of(const LocalGain& gain) { return static_cast<float>(std::clamp((1 + gain.guarded) / 2, 0.0, 1.0)); }

}  // namespace

NearestGains::NearestGains(std::shared_ptr<const SimilarityIndex> index, std::vector<float> gains,
                           std::shared_ptr<const StaticEncoder> encoder, GainRule rule)
    : index_(std::move(index)), gains_(std::move(gains)), encoder_(std::move(encoder)), rule_(rule) {
  if (gains_.size() != index_->size()) {
    throw InvalidArgument("gains: found " + std::to_string(gains_.size()) + ", allowed: one for each of the index's " +
                          std::to_string(index_->size()) + " rows");
  }
  const auto bad = std::ranges::find_if(gains_, [](float gain) { return !(gain >= -1 && gain <= 1); });
  if (bad != gains_.end()) {
    throw InvalidArgument("gains: found " + std::to_string(*bad) + " at row " + std::to_string(bad - gains_.begin()) +
                          ", allowed: -1 to 1");
  }
  if (encoder_ && encoder_->dim() != index_->dim()) {
    throw InvalidArgument("encoder: found " + std::to_string(encoder_->dim()) + " dimensions, allowed: the index's " +
                          std::to_string(index_->dim()));
  }
  if (rule_.neighbours == 0) throw InvalidArgument("neighbours: found 0, allowed: 1 or more");
  rule_.neighbours = std::min(rule_.neighbours, index_->size());
  require(rule_.base >= 1 && rule_.base <= kLargestBase, "base", rule_.base, "1 to 1e30");
  require(rule_.shrinkage >= 0 && std::isfinite(rule_.shrinkage), "shrinkage", rule_.shrinkage, "0 or more, finite");
  require(rule_.guard >= 0 && std::isfinite(rule_.guard), "guard", rule_.guard, "0 or more, finite");
  slope_ = log_of_base(rule_.base);
  for (const float gain : gains_) mean_gain_ += static_cast<double>(gain);
  mean_gain_ /= static_cast<double>(gains_.size());
}

LocalGain NearestGains::gain_of(const Neighbours& neighbours, std::vector<double>& weights) const {
  if (!(neighbours.similarities[0] > 0)) return {mean_gain_, 0, mean_gain_};
  weights.resize(neighbours.k);
  weigh_neighbours(neighbours, slope_, 0, weights.data());
  const auto gain_at = [&](size_t i) { return static_cast<double>(gains_[static_cast<size_t>(neighbours.ids[i])]); };
  double weight = 0;
  double squares = 0;
  double sum = 0;
  for (size_t i = 0; i < neighbours.k; ++i) {
    weight += weights[i];
    squares += weights[i] * weights[i];
    sum += weights[i] * gain_at(i);
  }
  const double local = sum / weight;
  double spread = 0;
  for (size_t i = 0; i < neighbours.k; ++i) {
    const double off = weights[i] * (gain_at(i) - local);
    spread += off * off;
  }
  const double n = weight * weight / squares;
  const double gain = (sum + rule_.shrinkage * mean_gain_) / (weight + rule_.shrinkage);
  const double error = n > kOne ? std::sqrt(spread * (n / (n - 1))) / (weight + rule_.shrinkage)
                                : std::numeric_limits<double>::infinity();
  if (rule_.guard == 0) return {gain, error, gain};
  const double away = gain - mean_gain_;
  const double kept = std::max(0.0, std::abs(away) - rule_.guard * error);
  return {gain, error, mean_gain_ + std::copysign(kept, away)};
}

// read(i, n, workspace) reads the queries of the prompts i .. i + n and returns their embeddings; write(i, gain) takes
// the gain of prompt i.
template <class Read, class Write>
void NearestGains::search(size_t count, const Read& read, const Write& write) const {
  for_passes(*index_, count, workspaces_, [&](size_t first, size_t n, GainWorkspace& workspace) {
    const size_t k = rule_.neighbours;
    const float* rows = read(first, n, workspace);
    workspace.ids.resize(n * k);
    workspace.similarities.resize(n * k);
    nearest_rows(*index_, rows, k, workspace, workspace.ids.data(), workspace.similarities.data());
    for (size_t q = 0; q < n; ++q) {
      const Neighbours found = {workspace.ids.data() + q * k, workspace.similarities.data() + q * k, k};
      write(first + q, gain_of(found, workspace.weights));
    }
  });
}

float NearestGains::score(std::string_view utf8) const {
  float out = 0;
  score_batch(&utf8, 1, &out);
  return out;
}

void NearestGains::score_batch(const std::string_view* texts, size_t count, float* out) const {
  const auto read = [&](size_t i, size_t n, GainWorkspace& workspace) {
    embed_texts(encoder_.get(), texts + i, n, workspace);
    index_->read_queries(workspace.embeddings.data(), i, n, workspace.queries);
    return static_cast<const float*>(workspace.embeddings.data());
  };
  search(count, read, [out](size_t i, const LocalGain& gain) { out[i] = score_of(gain); });
}

void NearestGains::score_embeddings(const float* rows, size_t first, size_t count, float* out) const {
  const auto read = [&](size_t i, size_t n, GainWorkspace& workspace) {
    index_->read_queries(rows + i * dim(), first + i, n, workspace.queries);
    return rows + i * dim();
  };
  search(count, read, [out](size_t i, const LocalGain& gain) { out[i] = score_of(gain); });
}

template <class Write>
void NearestGains::weigh_given(const Neighbours& all, size_t first, size_t count, const Write& write) const {
  parallel_for(count, kPerTask, [&](size_t begin, size_t end) {
    std::vector<double> weights;
    for (size_t q = begin; q < end; ++q) {
      const Neighbours found = {all.ids + q * all.k, all.similarities + q * all.k, all.k};
      require_neighbours(found, index_->size(), first + q);
      write(q, gain_of(found, weights));
    }
  });
}

void NearestGains::score_neighbours(const Neighbours& all, size_t first, size_t count, float* out) const {
  weigh_given(all, first, count, [out](size_t q, const LocalGain& gain) { out[q] = score_of(gain); });
}

void NearestGains::explain_neighbours(const Neighbours& all, size_t first, size_t count, LocalGain* out) const {
  weigh_given(all, first, count, [out](size_t q, const LocalGain& gain) { out[q] = gain; });
}

}  // namespace fastroute
