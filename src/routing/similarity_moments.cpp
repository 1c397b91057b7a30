// What SimilarityWeighted does with moments: the correction of sums, and scores without a pass over the index.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "routing/similarity_weighted.h"
#include "runtime/error.h"
#include "runtime/simd.h"
#include "runtime/thread_pool.h"

namespace fastroute {
namespace {

constexpr size_t kMostQueries = 64;  // whose vectors lie in the cache along with a cell's factors

void require_fraction(const char* name, double value) {
  if (value >= 0 && value <= 1) return;
  throw InvalidArgument(std::string(name) + ": found " + std::to_string(value) + ", allowed: 0 to 1");
}

void require_fractions(Near near) {
  require_fraction("threshold", near.threshold);
  require_fraction("band", near.band);
}

// Puts the score in place of approximations near the threshold; score(places, scores) scores those together.
template <class Score>
void escalate(size_t count, Near near, const Score& score, float* out) {
  std::vector<size_t> places;
  for (size_t i = 0; i < count; ++i) {
    if (std::abs(static_cast<double>(out[i]) - near.threshold) <= near.band) places.push_back(i);
  }
  if (places.empty()) return;
  std::vector<float> scores(places.size());
  score(places, scores.data());
  for (size_t k = 0; k < places.size(); ++k) out[places[k]] = scores[k];
}

}  // namespace

void SimilarityWeighted::hold_moments(std::shared_ptr<const BattleMoments> moments) {
  if (moments->dim() != index_->dim()) {
    throw InvalidArgument("moments: found " + std::to_string(moments->dim()) + " dimensions, allowed: the index's " +
                          std::to_string(index_->dim()));
  }
  moments->require_cells_of(*counts_);
  if (normalised_ && moments->rank() > 0) {
    throw InvalidArgument(
        "moments: found factors, and similarities normalised by the best one, which takes a pass over all; allowed: "
        "means alone, or similarities that are not normalised");
  }
  if (neighbourhood_.neighbours > 0 && moments->rank() > 0) {
    throw InvalidArgument(
        "moments: found factors, and a limit to the nearest prompts, which takes a pass over all; allowed: means "
        "alone, or all prompts");
  }
  moments_ = std::move(moments);
}

void SimilarityWeighted::require_factors() const {
  if (!moments_ || moments_->rank() == 0) {
    throw InvalidArgument("moments: found none with factors, needed to approximate scores");
  }
}

void SimilarityWeighted::read_queries(const float* rows, size_t first, size_t count,
                                      SimilarityWorkspace& workspace) const {
  index_->read_queries(rows, first, count, workspace.queries);
  if (!correction_) return;
  workspace.units.resize(count * dim());
  for (size_t q = 0; q < count; ++q) {
    unit_vector(rows + q * dim(), dim(), first + q, workspace.units.data() + q * dim());
  }
}

// In a normalised exponent all of the largest product counts, so it is worked out again with the query as it was before
// it was rounded, unless rounding may be most of it.
double SimilarityWeighted::exact_best(const int32_t* dots, Largest largest, size_t query,
                                      SimilarityWorkspace& workspace) const {
  const float* factors = index_->factors();
  size_t place = largest.begin;
  while (place + 1 < index_->size() && static_cast<float>(dots[place]) * factors[place] != largest.product) ++place;
  workspace.row.resize(dim());
  index_->row(place, workspace.row.data());
  float cosine = 0;
  active_kernels().dot_rows_i8(workspace.row.data(), index_->scales() + place, 1,
                               workspace.units.data() + query * dim(), dim(), &cosine);
  const float exact = cosine / workspace.queries.scales[query];
  return static_cast<double>(exact > largest.product / 2 ? exact : largest.product);
}

// Multiplies each cell's sum by exp(slope ln 2 * what rounding took from its mean cosine), over the largest such
// factor.
void SimilarityWeighted::correct_sums(const RoundingCorrection& correction, size_t query, double slope,
                                      SimilarityWorkspace& workspace) const {
  const auto& queries = workspace.queries;
  const size_t width = queries.rows.size() / queries.scales.size();
  auto& shifts = workspace.exponents;
  correction.shifts(workspace.units.data() + query * dim(), queries.rows.data() + query * width, queries.scales[query],
                    workspace.scratch, shifts);
  const double largest = *std::ranges::max_element(shifts);
  for (size_t c = 0; c < shifts.size(); ++c) {
    workspace.sums[moments_->cells()[c]] *= elo::exp_of_minus(slope * std::numbers::ln2 * (largest - shifts[c]));
  }
}

double SimilarityWeighted::approximate_rate(const double* log_means, SimilarityWorkspace& workspace) const {
  constexpr double kLeastWeight = 0x1p-40;
  static_assert(kernels::kLeastExponent == -40);
  const auto& cells = moments_->cells();
  const double largest = *std::max_element(log_means, log_means + cells.size());
  for (size_t c = 0; c < cells.size(); ++c) {
    const double weight = std::max(elo::exp_of_minus(largest - log_means[c]), kLeastWeight);
    workspace.sums[cells[c]] = counts_->totals()[cells[c]] * weight;
  }
  return rate_of_sums(sides_, workspace);
}

// read(i, n, workspace) gives the embeddings of the prompts i .. i + n; the number of the first one, for messages, is i
// more than `first`.
template <class Read>
void SimilarityWeighted::approximate_passes(size_t first, size_t count, const Read& read, float* out) const {
  require_factors();
  const size_t threads = num_threads();
  const size_t together = std::clamp((count + threads - 1) / threads, size_t{1}, kMostQueries);
  const double slope = exponent_ * std::numbers::ln2;
  parallel_for(count, together, [&](size_t begin, size_t end) {
    auto workspace = workspaces_.take();
    workspace->sums.assign(counts_->totals().size(), 0.0);
    for (size_t i = begin; i < end; i += together) {
      const size_t n = std::min(together, end - i);
      const float* rows = read(i, n, *workspace);
      workspace->units.resize(n * dim());
      workspace->exponents.resize(n * moments_->size());
      std::vector<bool> weighed(n);
      for (size_t q = 0; q < n; ++q) {
        weighed[q] = unit_vector(rows + q * dim(), dim(), first + i + q, workspace->units.data() + q * dim());
      }
      if (!constant_) moments_->log_means(workspace->units.data(), n, slope, workspace->exponents.data());
      for (size_t q = 0; q < n; ++q) {
        const double* log_means = workspace->exponents.data() + q * moments_->size();
        const bool alike = constant_ || !weighed[q];
        out[i + q] = static_cast<float>(alike ? global_rate_ : approximate_rate(log_means, *workspace));
      }
    }
    workspaces_.give_back(std::move(workspace));
  });
}

void SimilarityWeighted::approximate_batch(const std::string_view* texts, size_t count, float* out) const {
  const auto read = [&](size_t i, size_t n, SimilarityWorkspace& workspace) {
    embed_texts(encoder_.get(), texts + i, n, workspace);
    return workspace.embeddings.data();
  };
  approximate_passes(0, count, read, out);
}

float SimilarityWeighted::approximate(std::string_view utf8) const {
  float out = 0;
  approximate_batch(&utf8, 1, &out);
  return out;
}

void SimilarityWeighted::approximate_embeddings(const float* rows, size_t first, size_t count, float* out) const {
  const auto read = [&](size_t i, size_t, SimilarityWorkspace&) { return rows + i * dim(); };
  approximate_passes(first, count, read, out);
}

void SimilarityWeighted::score_batch_near(const std::string_view* texts, size_t count, Near near, float* out) const {
  require_fractions(near);
  approximate_batch(texts, count, out);
  const auto score = [&](const std::vector<size_t>& places, float* scores) {
    std::vector<std::string_view> chosen;
    chosen.reserve(places.size());
    for (const size_t i : places) chosen.push_back(texts[i]);
    score_batch(chosen.data(), chosen.size(), scores);
  };
  escalate(count, near, score, out);
}

float SimilarityWeighted::score_near(std::string_view utf8, Near near) const {
  float out = 0;
  score_batch_near(&utf8, 1, near, &out);
  return out;
}

void SimilarityWeighted::score_embeddings_near(const float* rows, size_t first, size_t count, Near near,
                                               float* out) const {
  require_fractions(near);
  approximate_embeddings(rows, first, count, out);
  const auto score = [&](const std::vector<size_t>& places, float* scores) {
    std::vector<float> chosen(places.size() * dim());
    for (size_t k = 0; k < places.size(); ++k) std::copy_n(rows + places[k] * dim(), dim(), chosen.data() + k * dim());
    score_embeddings(chosen.data(), 0, places.size(), scores);
  };
  escalate(count, near, score, out);
}

}  // namespace fastroute
