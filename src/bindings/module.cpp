#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "runtime/error.h"
#include "runtime/simd.h"
#include "runtime/thread_pool.h"

namespace py = pybind11;

namespace {

void raise_as(const char* class_name, const std::exception& error) {
  const py::object type = py::module_::import("fastroute.errors").attr(class_name);
  PyErr_SetString(type.ptr(), error.what());
}

void translate(std::exception_ptr pointer) {  // NOLINT(performance-unnecessary-value-param): pybind11's signature
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const fastroute::InvalidType& error) {
    raise_as("InvalidTypeError", error);
  } catch (const fastroute::InvalidArgument& error) {
    raise_as("InvalidArgumentError", error);
  } catch (const fastroute::Error& error) {
    raise_as("FastrouteError", error);
  }
}

void set_num_threads(py::ssize_t count) {
  fastroute::set_num_threads(count < 0 ? size_t{0} : static_cast<size_t>(count));
}

}  // namespace

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
  module.doc() = "The native core of fastroute. Its classes are reached through the package, not from here.";
  py::register_exception_translator(&translate);

  module.def("simd_level", [] { return std::string(fastroute::name_of(fastroute::active_kernels().level)); });
  module.def("num_threads", &fastroute::num_threads);
  module.def("set_num_threads", &set_num_threads, py::arg("count"));
  fastroute::bindings::bind_arrow(module);
  fastroute::bindings::bind_encoder(module);
  fastroute::bindings::bind_routing(module);
  fastroute::bindings::bind_experts(module);
  fastroute::bindings::bind_similarity(module);
  fastroute::bindings::bind_nearest_gains(module);
}
