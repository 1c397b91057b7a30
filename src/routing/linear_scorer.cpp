#include "routing/linear_scorer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/simd.h"
#include "runtime/thread_pool.h"

namespace fastroute {
namespace {

constexpr size_t kPromptsPerTask = 64;
constexpr size_t kRowsPerBlock = 8;  // more would leave the memory idle during their sigmoids
constexpr size_t kRowsPerTask = 256 * kRowsPerBlock;

}  // namespace

LinearScorer::LinearScorer(std::shared_ptr<const StaticEncoder> encoder, std::vector<float> weights, float bias)
    : weights_(std::move(weights)), bias_(bias) {
  if (encoder && weights_.size() != encoder->dim()) {
    throw InvalidArgument("weights: found " + std::to_string(weights_.size()) + " dimensions, allowed: the encoder's " +
                          std::to_string(encoder->dim()));
  }
  const auto finite = [](float x) { return std::isfinite(x); };
  if (!std::ranges::all_of(weights_, finite) || !finite(bias_)) {
    throw InvalidArgument("weights and bias: found NaN or Inf, allowed: finite numbers");
  }
  if (encoder) projection_.emplace(std::move(encoder), weights_, 1);
}

const TokenProjection& LinearScorer::projection() const {
  if (!projection_) {
    throw InvalidArgument("prompts: this router was trained on embeddings and has no text encoder; score embeddings");
  }
  return *projection_;
}

float LinearScorer::score(std::string_view utf8, text::Workspace& workspace) const {
  double mean = 0;
  projection().project(utf8, workspace, &mean);
  const auto logit = static_cast<float>(mean + static_cast<double>(bias_));
  float out = 0;
  active_kernels().sigmoid_f32(&logit, &out, 1);
  return out;
}

void LinearScorer::score_batch(const std::string_view* texts, size_t count, float* out) const {
  static_cast<void>(projection());  // throws here, not in a thread
  parallel_for(count, kPromptsPerTask, [&](size_t begin, size_t end) {
    text::Workspace workspace;
    for (size_t i = begin; i < end; ++i) out[i] = score(texts[i], workspace);
  });
}

void LinearScorer::score_embeddings(const float* rows, size_t count, float* out) const {
  const auto& kernels = active_kernels();
  const size_t dim = weights_.size();
  parallel_for(count, kRowsPerTask, [&](size_t begin, size_t end) {
    float logits[kRowsPerBlock];
    for (size_t i = begin; i < end; i += kRowsPerBlock) {
      const size_t n = std::min(kRowsPerBlock, end - i);
      kernels.dot_rows_f32(rows + i * dim, n, weights_.data(), dim, logits);
      for (size_t r = 0; r < n; ++r) {
        logits[r] += bias_;
        // A NaN or Inf in a row can't leave its dot product finite, so the check is free.
        if (!std::isfinite(logits[r])) logits[r] = logit_of_large(rows + (i + r) * dim, i + r);
      }
      kernels.sigmoid_f32(logits, out + i, n);
    }
  });
}

float LinearScorer::logit_of_large(const float* row, size_t index) const {
  double sum = bias_;
  for (size_t j = 0; j < weights_.size(); ++j) {
    if (!std::isfinite(row[j])) {
      throw InvalidArgument("embeddings: row " + std::to_string(index) + ", column " + std::to_string(j) + ": found " +
                            (std::isnan(row[j]) ? "NaN" : "Inf") + ", allowed: finite numbers");
    }
    sum += static_cast<double>(weights_[j]) * static_cast<double>(row[j]);
  }
  return static_cast<float>(sum);  // finite in double; at worst an infinite float, which has a score of 0 or 1
}

}  // namespace fastroute
