// The nearest rows of an index, for SimilarityIndex and the scorers that take neighbours.
#pragma once

#include "bindings/arguments.h"
#include "routing/similarity_index.h"

namespace fastroute::bindings {

// (ids, similarities) of the k nearest rows of each embedding, nearest first; of all rows where k is more.
py::tuple nearest(const SimilarityIndex& index, py::handle embeddings, py::handle k);

// The same of given rows alone, (n, m) for n embeddings.
py::tuple rank(const SimilarityIndex& index, py::handle embeddings, py::handle candidates, py::handle k);

// Rows as they are stored, float32.
py::array_t<float> unit_rows(const SimilarityIndex& index, py::handle rows);

}  // namespace fastroute::bindings
