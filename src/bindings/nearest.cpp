#include "bindings/nearest.h"

#include <algorithm>
#include <string>

#include "routing/nearest.h"
#include "runtime/error.h"
#include "runtime/thread_pool.h"

namespace fastroute::bindings {
namespace {

constexpr size_t kQueriesPerTask = 4;

void check_rows(const int64_t* rows, size_t count, size_t size, const char* name) {
  for (size_t i = 0; i < count; ++i) {
    if (rows[i] < 0 || static_cast<size_t>(rows[i]) >= size) {
      throw InvalidArgument(std::string(name) + ": found " + std::to_string(rows[i]) + ", allowed: 0 to " +
                            std::to_string(size - 1));
    }
  }
}

}  // namespace

GivenNeighbours::GivenNeighbours(py::handle given_ids, py::handle given_similarities)
    : ids(array_of<int64_t>(given_ids, "ids", 2)),
      similarities(array_of<float>(given_similarities, "similarities", 2)),
      count(extent(ids, 0)),
      k(extent(ids, 1)) {
  if (k == 0) throw InvalidArgument("ids: found no columns, allowed: 1 or more");
  if (extent(similarities, 0) != count || extent(similarities, 1) != k) {
    throw InvalidArgument("similarities: found " + std::to_string(similarities.shape(0)) + " x " +
                          std::to_string(similarities.shape(1)) + ", allowed: the shape of ids, " +
                          std::to_string(count) + " x " + std::to_string(k));
  }
}

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

py::tuple rank(const SimilarityIndex& index, py::handle embeddings, py::handle candidates, py::handle k) {
  const auto queries = embeddings_of(embeddings, index.dim());
  const auto rows = array_of<int64_t>(candidates, "candidates", 2);
  const size_t count = extent(queries, 0);
  if (extent(rows, 0) != count) {
    throw InvalidArgument("candidates: found " + std::to_string(rows.shape(0)) + " rows, allowed: one for each of " +
                          std::to_string(count) + " embeddings");
  }
  check_rows(rows.data(), extent(rows, 0) * extent(rows, 1), index.size(), "candidates");
  const size_t most = extent(rows, 1);
  const size_t found = std::min(count_of(k, "k", 1), most);
  py::array_t<int64_t> ids({count, found});
  py::array_t<float> similarities({count, found});
  int64_t* id = ids.mutable_data();
  float* similarity = similarities.mutable_data();
  in_slices(count, [&](size_t begin, size_t n) {
    QuantisedQueries read;
    index.read_queries(queries.data() + begin * index.dim(), begin, n, read);  // refuses NaN and Inf
    parallel_for(n, kQueriesPerTask, [&](size_t from, size_t to) {
      NearestWorkspace workspace;
      for (size_t q = begin + from; q < begin + to; ++q) {
        rank_rows(index, queries.data() + q * index.dim(), rows.data() + q * most, most, found, workspace,
                  id + q * found, similarity + q * found);
      }
    });
  });
  return py::make_tuple(ids, similarities);
}

py::array_t<float> unit_rows(const SimilarityIndex& index, py::handle rows) {
  const auto wanted = array_of<int64_t>(rows, "rows", 1);
  const size_t count = extent(wanted, 0);
  check_rows(wanted.data(), count, index.size(), "rows");
  py::array_t<float> out({count, index.dim()});
  float* row = out.mutable_data();
  const py::gil_scoped_release release;
  for (size_t i = 0; i < count; ++i) index.read_row(static_cast<size_t>(wanted.data()[i]), row + i * index.dim());
  return out;
}

}  // namespace fastroute::bindings
