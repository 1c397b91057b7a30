// Passes over an index: up to 64 queries read it together, on several threads, in workspaces that are kept.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "encoder/static_encoder.h"
#include "routing/similarity_index.h"
#include "runtime/thread_pool.h"

namespace fastroute {

// What a pass needs. The dot products are not set to zero first: they are megabytes.
struct PassWorkspace {
  text::Workspace text;
  std::vector<float> embeddings;
  QuantisedQueries queries;
  std::unique_ptr<int32_t[]> dots;
  size_t dots_capacity = 0;
};

// Embeds count texts into the workspace's embeddings. Throws InvalidArgument where the encoder is null.
void embed_texts(const StaticEncoder* encoder, const std::string_view* texts, size_t count, PassWorkspace& workspace);

// Dot products of the workspace's queries with all rows; those of query q begin at q * index.stride().
void multiply(const SimilarityIndex& index, PassWorkspace& workspace);

// Queries that are read in one pass, of `count` in all.
size_t queries_per_pass(const SimilarityIndex& index, size_t count);

// Workspaces that wait for the next pass. Nobody waits for a lock: where another thread has it, such as one that a
// forked child does not have, a pass makes its own workspace.
template <class Workspace>
class WorkspacePool {
 public:
  std::unique_ptr<Workspace> take() {
    {
      const std::unique_lock lock(mutex_, std::try_to_lock);
      if (lock.owns_lock() && !waiting_.empty()) {
        auto workspace = std::move(waiting_.back());
        waiting_.pop_back();
        return workspace;
      }
    }
    return std::make_unique<Workspace>();
  }

  void give_back(std::unique_ptr<Workspace> workspace) {
    constexpr size_t kKept = 1 << 16;
    if (workspace->text.ids.capacity() > kKept) workspace->text.ids = {};
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock.owns_lock() && waiting_.size() < num_threads()) waiting_.push_back(std::move(workspace));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> waiting_;
};

// Calls body(first, n, workspace) for passes that cover 0..count, on up to num_threads() threads.
template <class Workspace, class Body>
void for_passes(const SimilarityIndex& index, size_t count, WorkspacePool<Workspace>& pool, const Body& body) {
  const size_t together = queries_per_pass(index, count);
  parallel_for(count, together, [&](size_t begin, size_t end) {
    auto workspace = pool.take();
    for (size_t i = begin; i < end; i += together) body(i, std::min(together, end - i), *workspace);
    pool.give_back(std::move(workspace));
  });
}

}  // namespace fastroute
