#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/index_scorers.h"
#include "bindings/moments.h"
#include "bindings/nearest.h"
#include "elo/bradley_terry.h"
#include "routing/battle_counts.h"
#include "routing/similarity_index.h"
#include "routing/similarity_weighted.h"
#include "runtime/error.h"
#include "runtime/thread_pool.h"

namespace fastroute::bindings {
namespace {

constexpr size_t kRowsPerTask = 256;

py::tuple quantise_rows(py::handle embeddings) {
  const auto given = array_of<float>(embeddings, "embeddings", 2);
  const size_t count = extent(given, 0);
  const size_t dim = extent(given, 1);
  py::array_t<int8_t> rows({count, dim});
  py::array_t<int8_t> fine({count, dim});
  py::array_t<float> scales(static_cast<py::ssize_t>(count));
  {
    int8_t* row = rows.mutable_data();
    int8_t* rest = fine.mutable_data();
    float* scale = scales.mutable_data();
    const py::gil_scoped_release release;
    parallel_for(count, kRowsPerTask, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        scale[i] = quantise(given.data() + i * dim, dim, i, row + i * dim, rest + i * dim);
      }
    });
  }
  return py::make_tuple(rows, fine, scales);
}

std::shared_ptr<SimilarityIndex> make_index(py::handle rows, py::handle scales, py::handle fine) {
  const auto matrix = array_of<int8_t>(rows, "rows", 2);
  auto scale = vector_of(array_of<float>(scales, "scales", 1));
  py::array_t<int8_t, py::array::c_style> rest;
  if (!fine.is_none()) {
    rest = array_of<int8_t>(fine, "fine", 2);
    if (rest.shape(0) != matrix.shape(0) || rest.shape(1) != matrix.shape(1)) {
      throw InvalidArgument("fine: found " + std::to_string(rest.shape(0)) + " x " + std::to_string(rest.shape(1)) +
                            ", allowed: the shape of rows");
    }
  }
  const int8_t* second = fine.is_none() ? nullptr : rest.data();
  const py::gil_scoped_release release;
  return std::make_shared<SimilarityIndex>(matrix.data(), second, extent(matrix, 0), extent(matrix, 1),
                                           std::move(scale));
}

py::array_t<int8_t> rows_of(const SimilarityIndex& index) {
  py::array_t<int8_t> out({index.size(), index.dim()});
  index.rows(out.mutable_data());
  return out;
}

py::object fine_of(const SimilarityIndex& index) {
  if (!index.is_fine()) return py::none();
  py::array_t<int8_t> out({index.size(), index.dim()});
  index.fine(out.mutable_data());
  return out;
}

py::array_t<float> similarities(const SimilarityIndex& index, py::handle embeddings) {
  const auto given = embeddings_of(embeddings, index.dim());
  const size_t count = extent(given, 0);
  py::array_t<float> out({count, index.size()});
  float* similarity = out.mutable_data();
  const py::gil_scoped_release release;
  QuantisedQueries query;
  std::vector<int32_t> dots(index.stride());
  for (size_t q = 0; q < count; ++q) {
    index.read_queries(given.data() + q * index.dim(), q, 1, query);
    index.dots(query, dots.data());
    for (size_t i = 0; i < index.size(); ++i) {
      *similarity++ = static_cast<float>(dots[i]) * index.factors()[i] * query.scales[0];
    }
  }
  return out;
}

std::shared_ptr<BattleCounts> make_counts(size_t tiers, py::handle offsets, py::handle cells, py::handle counts) {
  const auto begins = array_of<int64_t>(offsets, "offsets", 1);
  const auto cell = array_of<uint16_t>(cells, "cells", 1);
  const auto count = array_of<float>(counts, "counts", 1);
  if (begins.size() == 0) throw InvalidArgument("offsets: found none, allowed: one more than there are prompts");
  if (cell.size() != count.size()) {
    throw InvalidArgument("counts: found " + std::to_string(count.size()) + " for " + std::to_string(cell.size()) +
                          " cells, allowed: one for each");
  }
  return std::make_shared<BattleCounts>(tiers, begins.data(), extent(begins, 0) - 1, cell.data(), count.data(),
                                        extent(cell, 0));
}

py::array_t<double> totals(const BattleCounts& counts) {
  py::array_t<double> out({counts.sides(), counts.sides()});
  std::ranges::copy(counts.totals(), out.mutable_data());
  return out;
}

std::shared_ptr<SimilarityWeighted> make_scorer(std::shared_ptr<SimilarityIndex> index,
                                                std::shared_ptr<BattleCounts> counts,
                                                std::shared_ptr<StaticEncoder> encoder, size_t strong, size_t weak,
                                                double base, bool normalised, py::handle neighbours,
                                                py::handle shrinkage, std::shared_ptr<BattleMoments> moments) {
  const Neighbourhood neighbourhood = {count_of(neighbours, "neighbours", 0), number_of(shrinkage, "shrinkage", 0)};
  const py::gil_scoped_release release;
  return std::make_shared<SimilarityWeighted>(std::move(index), std::move(counts), std::move(encoder), strong, weak,
                                              Temperature{base, normalised}, neighbourhood, std::move(moments));
}

py::tuple solve_strengths(py::handle wins, py::handle start) {
  const auto table = array_of<double>(wins, "wins", 2);
  const auto given = array_of<double>(start, "start", 1);
  const size_t n = extent(given, 0);
  if (extent(table, 0) != n || extent(table, 1) != n) {
    throw InvalidArgument("wins: found " + std::to_string(table.shape(0)) + " x " + std::to_string(table.shape(1)) +
                          ", allowed: one row and one column for each of " + std::to_string(n) + " strengths");
  }
  py::array_t<double> out(given.shape(0));
  std::copy_n(given.data(), n, out.mutable_data());
  elo::SolverWorkspace workspace;
  const auto solution = elo::solve_strengths(table.data(), n, out.mutable_data(), workspace);
  return py::make_tuple(out, solution.converged, solution.steps);
}

}  // namespace

void bind_similarity(py::module_& module) {
  module.def("quantise_rows", &quantise_rows, py::arg("embeddings"));
  module.def("solve_strengths", &solve_strengths, py::arg("wins"), py::arg("start"));

  py::class_<SimilarityIndex, std::shared_ptr<SimilarityIndex>>(module, "SimilarityIndex")
      .def(py::init(&make_index), py::arg("rows"), py::arg("scales"), py::arg("fine") = py::none())
      .def("fine", &fine_of)
      .def("rank", &rank, py::arg("embeddings"), py::arg("candidates"), py::arg("k"))
      .def("unit_rows", &unit_rows, py::arg("rows"))
      .def("nearest", &nearest, py::arg("embeddings"), py::arg("k"))
      .def("rows", &rows_of)
      .def("scales",
           [](const SimilarityIndex& index) {
             return py::array_t<float>(static_cast<py::ssize_t>(index.size()), index.scales());
           })
      .def("similarities", &similarities, py::arg("embeddings"))
      .def_property_readonly("dim", &SimilarityIndex::dim)
      .def_property_readonly("size", &SimilarityIndex::size);

  py::class_<BattleCounts, std::shared_ptr<BattleCounts>>(module, "BattleCounts")
      .def(py::init(&make_counts), py::arg("tiers"), py::arg("offsets"), py::arg("cells"), py::arg("counts"))
      .def("totals", &totals)
      .def_property_readonly("tiers", &BattleCounts::tiers);

  bind_moments(module);
  py::class_<SimilarityWeighted, std::shared_ptr<SimilarityWeighted>> weighted(module, "SimilarityWeighted");
  weighted
      .def(py::init(&make_scorer), py::arg("index"), py::arg("counts"), py::arg("encoder").none(true), py::kw_only(),
           py::arg("strong"), py::arg("weak"), py::arg("base"), py::arg("normalised"), py::arg("neighbours") = 0,
           py::arg("shrinkage") = 0.0, py::arg("moments").none(true) = py::none())
      .def("score", &score<SimilarityWeighted>, py::arg("prompts"))
      .def("score_embeddings", &score_embeddings<SimilarityWeighted>, py::arg("embeddings"))
      .def("score_neighbours", &score_neighbours<SimilarityWeighted>, py::arg("ids"), py::arg("similarities"))
      .def_property_readonly("constant", &SimilarityWeighted::constant)
      .def_property_readonly("dim", &SimilarityWeighted::dim)
      .def_property_readonly("global_rate", &SimilarityWeighted::global_rate);
  bind_approximation(weighted);
}

}  // namespace fastroute::bindings
