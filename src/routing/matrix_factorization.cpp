#include "routing/matrix_factorization.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/simd.h"
#include "runtime/thread_pool.h"

namespace fastroute {
namespace {

constexpr size_t kRowsPerTask = 64;

void require_finite(const char* name, std::span<const float> values) {
  if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x); })) {
    throw InvalidArgument(std::string(name) + ": found NaN or Inf, allowed: finite numbers");
  }
}

void require_size(const char* name, size_t found, size_t allowed) {
  if (found != allowed) {
    throw InvalidArgument(std::string(name) + ": found " + std::to_string(found) +
                          " values, allowed: " + std::to_string(allowed));
  }
}

}  // namespace

MatrixFactorization::MatrixFactorization(std::vector<float> model_embedding, std::vector<float> projection,
                                         std::vector<float> classifier, std::vector<float> model_bias)
    : model_embedding_(std::move(model_embedding)),
      projection_(std::move(projection)),
      classifier_(std::move(classifier)),
      model_bias_(std::move(model_bias)) {
  const size_t rank = classifier_.size();
  if (rank == 0 || model_bias_.size() < 2 || projection_.empty()) {
    throw InvalidArgument("matrix factorisation: found no rank, no dimension or fewer than two models");
  }
  require_size("model_embedding", model_embedding_.size(), model_bias_.size() * rank);
  dim_ = projection_.size() / rank;
  require_size("projection", projection_.size(), rank * dim_);
  require_finite("model_embedding", model_embedding_);
  require_finite("projection", projection_);
  require_finite("classifier", classifier_);
  require_finite("model_bias", model_bias_);
  model_vectors_.resize(models() * dim_);
  for (size_t m = 0; m < models(); ++m) {
    const auto vector = collapse(&model_embedding_[m * rank], nullptr);
    std::ranges::transform(vector, &model_vectors_[m * dim_], [](double x) { return static_cast<float>(x); });
  }
  require_finite("matrix factorisation: a model's vector W^T (w * v)", model_vectors_);
}

std::vector<double> MatrixFactorization::collapse(const float* model, const float* minus) const {
  std::vector<double> sum(dim_, 0.0);
  for (size_t r = 0; r < classifier_.size(); ++r) {
    const double v = static_cast<double>(model[r]) - (minus != nullptr ? static_cast<double>(minus[r]) : 0.0);
    const double factor = static_cast<double>(classifier_[r]) * v;
    const float* row = &projection_[r * dim_];
    for (size_t j = 0; j < dim_; ++j) sum[j] += factor * static_cast<double>(row[j]);
  }
  return sum;
}

MatrixFactorization::Pair MatrixFactorization::pair(size_t a, size_t b) const {
  if (a >= models() || b >= models()) {
    throw InvalidArgument("model: found index " + std::to_string(std::max(a, b)) + ", allowed: 0 to " +
                          std::to_string(models() - 1));
  }
  const size_t rank = classifier_.size();
  const auto vector = collapse(&model_embedding_[a * rank], &model_embedding_[b * rank]);
  Pair result{std::vector<float>(dim_), model_bias_[a] - model_bias_[b]};
  std::ranges::transform(vector, result.weights.begin(), [](double x) { return static_cast<float>(x); });
  return result;
}

void MatrixFactorization::logits(const float* rows, size_t count, float* out) const {
  const auto& kernels = active_kernels();
  parallel_for(count, kRowsPerTask, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const float* row = rows + i * dim_;
      float* ratings = out + i * models();
      kernels.dot_rows_f32(model_vectors_.data(), models(), row, dim_, ratings);
      for (size_t m = 0; m < models(); ++m) ratings[m] += model_bias_[m];
      if (std::all_of(ratings, ratings + models(), [](float x) { return std::isfinite(x); })) continue;
      throw InvalidArgument("embeddings: row " + std::to_string(i) +
                            ": found NaN, Inf or a value whose logit overflows, allowed: finite numbers");
    }
  });
}

}  // namespace fastroute
