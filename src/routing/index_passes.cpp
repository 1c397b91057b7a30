#include "routing/index_passes.h"

#include "runtime/error.h"

namespace fastroute {
namespace {

constexpr size_t kMostQueries = 64;
constexpr size_t kLeastQueries = 8;
constexpr size_t kMostBytes = 256 << 20;  // of dot products that are kept, all threads together

}  // namespace

void embed_texts(const StaticEncoder* encoder, const std::string_view* texts, size_t count, PassWorkspace& workspace) {
  if (encoder == nullptr) {
    throw InvalidArgument("prompts: this router was trained on embeddings and has no text encoder; score embeddings");
  }
  workspace.embeddings.resize(count * encoder->dim());
  for (size_t q = 0; q < count; ++q) {
    encoder->embed(texts[q], workspace.text, workspace.embeddings.data() + q * encoder->dim());
  }
}

void multiply(const SimilarityIndex& index, PassWorkspace& workspace) {
  const size_t needed = workspace.queries.scales.size() * index.stride();
  if (workspace.dots_capacity < needed) {
    workspace.dots_capacity = 0;
    workspace.dots = std::make_unique_for_overwrite<int32_t[]>(needed);
    workspace.dots_capacity = needed;
  }
  index.dots(workspace.queries, workspace.dots.get());
}

size_t queries_per_pass(const SimilarityIndex& index, size_t count) {
  const size_t threads = num_threads();
  const size_t fitting = kMostBytes / (threads * index.stride() * sizeof(int32_t));
  const size_t most = std::clamp(fitting, kLeastQueries, kMostQueries);
  return std::clamp((count + threads - 1) / threads, size_t{1}, most);
}

}  // namespace fastroute
