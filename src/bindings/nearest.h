// The nearest rows of an index, for SimilarityIndex and the scorers that take neighbours.
#pragma once

#include "bindings/arguments.h"
#include "routing/similarity_index.h"

namespace fastroute::bindings {

// (ids, similarities) of the k nearest rows of each embedding, nearest first; of all rows where k is more.
py::tuple nearest(const SimilarityIndex& index, py::handle embeddings, py::handle k);

}  // namespace fastroute::bindings
