#include "encoder/static_encoder.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/simd.h"
#include "runtime/thread_pool.h"

namespace fastroute {
namespace {

constexpr size_t kPromptsPerTask = 32;

}  // namespace

StaticEncoder::StaticEncoder(std::shared_ptr<const text::WordPiece> tokenizer, std::vector<int8_t> rows,
                             std::vector<float> scales, size_t max_tokens)
    : tokenizer_(std::move(tokenizer)), rows_(std::move(rows)), scales_(std::move(scales)), max_tokens_(max_tokens) {
  const size_t tokens = tokenizer_->vocabulary_size();
  if (scales_.size() != tokens) {
    throw InvalidArgument("scales: found " + std::to_string(scales_.size()) + " for " + std::to_string(tokens) +
                          " tokens, allowed: one for each");
  }
  if (tokens == 0 || rows_.empty() || rows_.size() % tokens != 0) {
    throw InvalidArgument("embedding: found " + std::to_string(rows_.size()) + " values for " + std::to_string(tokens) +
                          " tokens, allowed: a row for each");
  }
  if (max_tokens_ == 0) throw InvalidArgument("max_tokens: found 0, allowed: 1 or more");
  // Up to here the sum of max_tokens rows can't overflow.
  const float largest = std::numeric_limits<float>::max() / (256.0F * static_cast<float>(max_tokens_));
  const auto bad = std::ranges::find_if(scales_, [&](float s) { return !(s >= 0 && s <= largest); });
  if (bad != scales_.end()) {
    throw InvalidArgument("scales: found " + std::to_string(*bad) + " at token " +
                          std::to_string(bad - scales_.begin()) + ", allowed: 0 to " + std::to_string(largest));
  }
  dim_ = rows_.size() / tokens;
}

void StaticEncoder::embed(std::string_view utf8, text::Workspace& workspace, float* out) const {
  const auto& kernels = active_kernels();
  std::fill_n(out, dim_, 0.0F);
  tokenizer_->encode(utf8, max_tokens_, workspace);
  if (workspace.ids.empty()) return;
  for (const int32_t id : workspace.ids) {
    const auto token = static_cast<size_t>(id);
    kernels.add_scaled_i8(rows_.data() + token * dim_, scales_[token], out, dim_);
  }
  const auto count = static_cast<float>(workspace.ids.size());
  std::for_each_n(out, dim_, [count](float& x) { x /= count; });
}

void StaticEncoder::embed_batch(const std::string_view* texts, size_t count, float* out) const {
  parallel_for(count, kPromptsPerTask, [&](size_t begin, size_t end) {
    text::Workspace workspace;
    for (size_t i = begin; i < end; ++i) embed(texts[i], workspace, out + i * dim_);
  });
}

void StaticEncoder::project_tokens(size_t begin, size_t end, const float* v, float* out) const {
  active_kernels().dot_rows_i8(rows_.data() + begin * dim_, scales_.data() + begin, end - begin, v, dim_, out);
}

}  // namespace fastroute
