// Linear functions of a static embedding, without the embedding: it is a mean of token rows, so each function is a mean
// of one number per token. Those numbers are worked out once, and a prompt costs its tokenisation and a sum.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "encoder/static_encoder.h"

namespace fastroute {

// Immutable once built; any number of threads may use it at once, each with its own Workspace.
class TokenProjection {
 public:
  // `vectors` is width x encoder.dim(), row-major. Throws InvalidArgument where a token's number would not be a finite
  // float, or sizes disagree.
  TokenProjection(std::shared_ptr<const StaticEncoder> encoder, const std::vector<float>& vectors, size_t width);

  size_t width() const noexcept { return width_; }

  // out[j] = vector j . embedding of the text, for j < width(); zeros where the text has no tokens.
  void project(std::string_view utf8, text::Workspace& workspace, double* out) const;

 private:
  std::shared_ptr<const StaticEncoder> encoder_;
  size_t width_;
  std::vector<float> token_values_;  // vocabulary x width
};

}  // namespace fastroute
