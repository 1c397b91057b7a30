// Moments of battles, and what a similarity-weighted scorer does with them.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "routing/similarity_weighted.h"

namespace fastroute::bindings {

void bind_moments(pybind11::module_& module);
void bind_approximation(pybind11::class_<SimilarityWeighted, std::shared_ptr<SimilarityWeighted>>& weighted);

}  // namespace fastroute::bindings
