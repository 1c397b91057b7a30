// A router whose logit is linear in the embedding: score = sigmoid(weights . embedding + bias).
// With a static encoder a text's logit needs no embedding (TokenProjection).
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "encoder/token_projection.h"

namespace fastroute {

// Immutable once built; any number of threads may score at once, each with its own Workspace.
class LinearScorer {
 public:
  // The encoder may be null: then only embeddings can be scored. Throws InvalidArgument unless weights and bias are
  // finite, with one weight for each dimension of the encoder.
  LinearScorer(std::shared_ptr<const StaticEncoder> encoder, std::vector<float> weights, float bias);

  size_t dim() const noexcept { return weights_.size(); }
  const std::vector<float>& weights() const noexcept { return weights_; }
  float bias() const noexcept { return bias_; }

  // Throws InvalidArgument without an encoder, as score_batch does.
  float score(std::string_view utf8, text::Workspace& workspace) const;

  // Bit for bit what score() gives for each text, on up to num_threads() threads.
  void score_batch(const std::string_view* texts, size_t count, float* out) const;

  // `rows` is count x dim(). Throws InvalidArgument that names the first row with a NaN or Inf; `out` is then
  // unspecified.
  void score_embeddings(const float* rows, size_t count, float* out) const;

 private:
  const TokenProjection& projection() const;
  float logit_of_large(const float* row, size_t index) const;

  std::vector<float> weights_;
  float bias_;
  std::optional<TokenProjection> projection_;  // none without an encoder
};

}  // namespace fastroute
