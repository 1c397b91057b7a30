#include "bindings/moments.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/index_scorers.h"
#include "routing/battle_moments.h"
#include "runtime/error.h"
#include "runtime/thread_pool.h"

namespace fastroute::bindings {
namespace {

// Prompts at a time: those that are escalated share passes.
size_t slice() { return 256 * num_threads(); }

std::shared_ptr<BattleMoments> make_moments(py::handle cells, py::handle means, py::handle factors) {
  const auto cell = array_of<uint16_t>(cells, "cells", 1);
  const auto mean = array_of<float>(means, "means", 2);
  if (mean.shape(0) != cell.size()) {
    throw InvalidArgument("means: found " + std::to_string(mean.shape(0)) + " rows, allowed: one for each of " +
                          std::to_string(cell.size()) + " cells");
  }
  size_t rank = 0;
  std::vector<float> factor;
  if (!factors.is_none()) {
    const auto given = array_of<float>(factors, "factors", 3);
    if (given.shape(0) != cell.size() || given.shape(2) != mean.shape(1)) {
      throw InvalidArgument("factors: found " + std::to_string(given.shape(0)) + " x " +
                            std::to_string(given.shape(1)) + " x " + std::to_string(given.shape(2)) +
                            ", allowed: rows like those of means, the same number for each of " +
                            std::to_string(cell.size()) + " cells");
    }
    rank = extent(given, 1);
    factor = vector_of(given);
  }
  return std::make_shared<BattleMoments>(vector_of(cell), extent(mean, 1), vector_of(mean), rank, std::move(factor));
}

py::array_t<uint16_t> cells_of(const BattleMoments& moments) {
  return py::array_t<uint16_t>(static_cast<py::ssize_t>(moments.size()), moments.cells().data());
}

py::array_t<float> means_of(const BattleMoments& moments) {
  py::array_t<float> out({moments.size(), moments.dim()});
  std::ranges::copy(moments.means(), out.mutable_data());
  return out;
}

py::array_t<float> factors_of(const BattleMoments& moments) {
  py::array_t<float> out({moments.size(), moments.rank(), moments.dim()});
  std::ranges::copy(moments.factors(), out.mutable_data());
  return out;
}

// A float or an int.
double number_of(py::handle object, const char* name) {
  PyObject* number = object.ptr();
  if (PyBool_Check(number) || !(PyFloat_Check(number) || PyLong_Check(number))) {
    throw InvalidType(name + (": found " + type_name(object)) + ", allowed: a float");
  }
  const double value = PyFloat_AsDouble(number);
  if (PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw InvalidArgument(std::string(name) + ": found an int beyond all floats, allowed: 0 to 1");
  }
  return value;
}

Near near_of(py::handle threshold, py::handle band) {
  return {number_of(threshold, "threshold"), number_of(band, "band")};
}

py::object approximate(const SimilarityWeighted& scorer, py::handle prompts) {
  return for_prompts(
      prompts, slice(), [&](std::string_view text) { return scorer.approximate(text); },
      [&](const std::string_view* texts, size_t count, float* out) { scorer.approximate_batch(texts, count, out); });
}

py::array_t<float> approximate_embeddings(const SimilarityWeighted& scorer, py::handle embeddings) {
  return for_embeddings(embeddings, scorer.dim(), slice(),
                        [&](const float* rows, size_t first, size_t count, float* out) {
                          scorer.approximate_embeddings(rows, first, count, out);
                        });
}

py::object score_near(const SimilarityWeighted& scorer, py::handle prompts, py::handle threshold, py::handle band) {
  const Near near = near_of(threshold, band);
  return for_prompts(
      prompts, slice(), [&](std::string_view text) { return scorer.score_near(text, near); },
      [&](const std::string_view* texts, size_t count, float* out) {
        scorer.score_batch_near(texts, count, near, out);
      });
}

py::array_t<float> score_embeddings_near(const SimilarityWeighted& scorer, py::handle embeddings, py::handle threshold,
                                         py::handle band) {
  const Near near = near_of(threshold, band);
  return for_embeddings(embeddings, scorer.dim(), slice(),
                        [&](const float* rows, size_t first, size_t count, float* out) {
                          scorer.score_embeddings_near(rows, first, count, near, out);
                        });
}

}  // namespace

void bind_moments(py::module_& module) {
  py::class_<BattleMoments, std::shared_ptr<BattleMoments>>(module, "BattleMoments")
      .def(py::init(&make_moments), py::arg("cells"), py::arg("means"), py::arg("factors") = py::none())
      .def("cells", &cells_of)
      .def("means", &means_of)
      .def("factors", &factors_of)
      .def_property_readonly("dim", &BattleMoments::dim)
      .def_property_readonly("rank", &BattleMoments::rank)
      .def_property_readonly("size", &BattleMoments::size);
}

void bind_approximation(py::class_<SimilarityWeighted, std::shared_ptr<SimilarityWeighted>>& weighted) {
  weighted.def("approximate", &approximate, py::arg("prompts"))
      .def("approximate_embeddings", &approximate_embeddings, py::arg("embeddings"))
      .def("score_near", &score_near, py::arg("prompts"), py::arg("threshold"), py::arg("band"))
      .def("score_embeddings_near", &score_embeddings_near, py::arg("embeddings"), py::arg("threshold"),
           py::arg("band"));
}

}  // namespace fastroute::bindings
