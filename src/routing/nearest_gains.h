// Scores by nearest neighbours: what the strong model gained on the prompts nearest to the one at hand.
//
// With g_i the gains of the k nearest prompts of an index, s_i their similarities, s_1 the largest, and m the mean of
// all gains, the gain that a fallback without neighbours expects:
//   w_i     = base ** (s_i - s_1), W their sum
//   local   = sum w_i g_i / W
//   gain    = (sum w_i g_i + shrinkage * m) / (W + shrinkage)
//   error   = sqrt(sum w_i^2 (g_i - local)^2 * n / (n - 1)) / (W + shrinkage), n = W^2 / sum w_i^2
//   guarded = m + d, where d is gain - m moved towards 0 by guard * error, and not beyond it
//   score   = (1 + guarded) / 2, clipped to [0, 1]
// So the guard leaves the fallback only as far as the gain clears its standard error. Where one neighbour has all the
// weight, n <= 1, the error is infinite, and any guard above 0 keeps the fallback. A prompt of zeros, or whose best
// similarity is not above 0, is similar to nothing: it gets m, with an error of 0. Sums are in double, nearest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "encoder/static_encoder.h"
#include "routing/nearest.h"

namespace fastroute {

struct GainRule {
  size_t neighbours;
  double base;
  double shrinkage;
  double guard;
};

struct LocalGain {
  double gain, error, guarded;
};

struct GainWorkspace : NearestWorkspace {
  std::vector<double> weights;
};

// Immutable once built but for workspaces; any number of threads may score at once. A prompt has the same bits alone
// and in any batch, on any number of threads and at every SIMD level.
class NearestGains {
 public:
  // The encoder may be null: then only embeddings and neighbours can be scored. More neighbours than the index has are
  // all that it has. Throws InvalidArgument where sizes disagree, a gain is not in [-1, 1], there are to be no
  // neighbours, base is not in 1..kLargestBase, or shrinkage or guard is negative or not finite.
  NearestGains(std::shared_ptr<const SimilarityIndex> index, std::vector<float> gains,
               std::shared_ptr<const StaticEncoder> encoder, GainRule rule);

  static constexpr double kLargestBase = 1e30;

  size_t dim() const noexcept { return index_->dim(); }
  size_t size() const noexcept { return index_->size(); }
  double mean_gain() const noexcept { return mean_gain_; }

  // Throws InvalidArgument without an encoder.
  float score(std::string_view utf8) const;

  // Bit for bit what score() gives for each text, on up to num_threads() threads.
  void score_batch(const std::string_view* texts, size_t count, float* out) const;

  // `rows` is count x dim(), the first one called number `first` in messages. Throws InvalidArgument that names a row
  // with a NaN or Inf; `out` is then unspecified.
  void score_embeddings(const float* rows, size_t first, size_t count, float* out) const;

  // Scores from the neighbours of count queries, `all.k` of each, one after the other; bit for bit the score of the
  // embedding where they are its nearest rows. Throws as require_neighbours() does; `out` is then unspecified.
  void score_neighbours(const Neighbours& all, size_t first, size_t count, float* out) const;
  void explain_neighbours(const Neighbours& all, size_t first, size_t count, LocalGain* out) const;

 private:
  template <class Write>
  void weigh_given(const Neighbours& all, size_t first, size_t count, const Write& write) const;
  template <class Read, class Write>
  void search(size_t count, const Read& read, const Write& write) const;
  LocalGain gain_of(const Neighbours& neighbours, std::vector<double>& weights) const;

  std::shared_ptr<const SimilarityIndex> index_;
  std::vector<float> gains_;
  std::shared_ptr<const StaticEncoder> encoder_;
  GainRule rule_;
  double slope_;  // log(base)
  double mean_gain_ = 0;
  mutable WorkspacePool<GainWorkspace> workspaces_;
};

}  // namespace fastroute
