#include "encoder/token_projection.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/simd.h"
#include "runtime/thread_pool.h"

namespace fastroute {

TokenProjection::TokenProjection(std::shared_ptr<const StaticEncoder> encoder, const std::vector<float>& vectors,
                                 size_t width)
    : encoder_(std::move(encoder)), width_(width) {
  if (vectors.size() != width_ * encoder_->dim()) {
    throw InvalidArgument("vectors: found " + std::to_string(vectors.size()) + " values, allowed: " +
                          std::to_string(width_) + " of the encoder's " + std::to_string(encoder_->dim()));
  }
  const size_t tokens = encoder_->vocabulary_size();
  token_values_.resize(tokens * width_);
  constexpr size_t kTokensPerTask = 512;  // their rows stay in a core's cache while each vector passes over them
  parallel_for(tokens, kTokensPerTask, [&](size_t begin, size_t end) {
    std::vector<float> column(end - begin);
    for (size_t j = 0; j < width_; ++j) {
      encoder_->project_tokens(begin, end, &vectors[j * encoder_->dim()], column.data());
      for (size_t t = begin; t < end; ++t) token_values_[t * width_ + j] = column[t - begin];
    }
  });
  if (!std::ranges::all_of(token_values_, [](float x) { return std::isfinite(x); })) {
    throw InvalidArgument("weights: so large that a token's logit overflows a float");
  }
}

void TokenProjection::project(std::string_view utf8, text::Workspace& workspace, double* out) const {
  encoder_->tokenizer().encode(utf8, encoder_->max_tokens(), workspace);
  const auto& ids = workspace.ids;
  active_kernels().sum_rows_f32(token_values_.data(), width_, ids.data(), ids.size(), out);
  if (ids.empty()) return;
  const auto count = static_cast<double>(ids.size());
  std::for_each_n(out, width_, [count](double& x) { x /= count; });
}

}  // namespace fastroute
