// The static encoder: a prompt's embedding is the mean of its tokens' rows in a table.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/wordpiece.h"

namespace fastroute {

// Immutable once built; any number of threads may embed at once, each with its own Workspace.
class StaticEncoder {
 public:
  // `rows` is vocabulary x dim, row-major; token t's vector is scales[t] * rows[t]. Throws InvalidArgument where sizes
  // disagree, a scale is negative or so large that embeddings could overflow, or max_tokens is 0.
  StaticEncoder(std::shared_ptr<const text::WordPiece> tokenizer, std::vector<int8_t> rows, std::vector<float> scales,
                size_t max_tokens);

  size_t dim() const noexcept { return dim_; }
  size_t max_tokens() const noexcept { return max_tokens_; }
  size_t vocabulary_size() const noexcept { return scales_.size(); }
  const text::WordPiece& tokenizer() const noexcept { return *tokenizer_; }

  // Writes dim() floats: the mean over the first max_tokens() tokens, zeros where the text has none. The bits are the
  // same at every SIMD level.
  void embed(std::string_view utf8, text::Workspace& workspace, float* out) const;

  // The same for many texts, on up to num_threads() threads; `out` is count x dim().
  void embed_batch(const std::string_view* texts, size_t count, float* out) const;

  // out[t - begin] = token t's vector . v, for the tokens begin .. end.
  void project_tokens(size_t begin, size_t end, const float* v, float* out) const;

 private:
  std::shared_ptr<const text::WordPiece> tokenizer_;
  std::vector<int8_t> rows_;
  std::vector<float> scales_;
  size_t max_tokens_;
  size_t dim_ = 0;
};

}  // namespace fastroute
