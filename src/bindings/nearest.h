// The nearest rows of an index, for SimilarityIndex and the scorers that take neighbours.
#pragma once

#include "bindings/arguments.h"
#include "routing/similarity_index.h"

namespace fastroute::bindings {

// Neighbours of count queries that somebody else found, k of each.
struct GivenNeighbours {
  GivenNeighbours(py::handle given_ids, py::handle given_similarities);

  py::array_t<int64_t, py::array::c_style> ids;
  py::array_t<float, py::array::c_style> similarities;
  size_t count, k;
};

template <class Scorer>
py::array_t<float> score_neighbours(const Scorer& scorer, py::handle ids, py::handle similarities) {
  const GivenNeighbours given(ids, similarities);
  py::array_t<float> out(static_cast<py::ssize_t>(given.count));
  float* values = out.mutable_data();
  in_slices(given.count, [&](size_t begin, size_t count) {
    const size_t place = begin * given.k;
    scorer.score_neighbours({given.ids.data() + place, given.similarities.data() + place, given.k}, begin, count,
                            values + begin);
  });
  return out;
}

// (ids, similarities) of the k nearest rows of each embedding, nearest first; of all rows where k is more.
py::tuple nearest(const SimilarityIndex& index, py::handle embeddings, py::handle k);

// The same of given rows alone, (n, m) for n embeddings.
py::tuple rank(const SimilarityIndex& index, py::handle embeddings, py::handle candidates, py::handle k);

// Rows as they are stored, float32.
py::array_t<float> unit_rows(const SimilarityIndex& index, py::handle rows);

}  // namespace fastroute::bindings
