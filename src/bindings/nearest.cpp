#include "bindings/nearest.h"

#include <algorithm>

#include "routing/nearest.h"

namespace fastroute::bindings {

py::tuple nearest(const SimilarityIndex& index, py::handle embeddings, py::handle k) {
  const auto rows = embeddings_of(embeddings, index.dim());
  const size_t found = std::min(count_of(k, "k", 1), index.size());
  py::array_t<int64_t> ids({extent(rows, 0), found});
  py::array_t<float> similarities({extent(rows, 0), found});
  int64_t* id = ids.mutable_data();
  float* similarity = similarities.mutable_data();
  NearestSearch search(index);
  in_slices(extent(rows, 0), [&](size_t begin, size_t count) {
    search.find(rows.data() + begin * index.dim(), begin, count, found, id + begin * found, similarity + begin * found);
  });
  return py::make_tuple(ids, similarities);
}

}  // namespace fastroute::bindings
