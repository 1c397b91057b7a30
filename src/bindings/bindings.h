// One function for each area that the module exposes.
#pragma once

#include <pybind11/pybind11.h>

namespace fastroute::bindings {

void bind_arrow(pybind11::module_& module);
void bind_encoder(pybind11::module_& module);
void bind_experts(pybind11::module_& module);
void bind_nearest_gains(pybind11::module_& module);
void bind_routing(pybind11::module_& module);
void bind_similarity(pybind11::module_& module);

}  // namespace fastroute::bindings
