#include "routing/nearest_gains.h"

#include <memory>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/index_scorers.h"
#include "bindings/nearest.h"

namespace fastroute::bindings {
namespace {

std::shared_ptr<NearestGains> make_scorer(std::shared_ptr<SimilarityIndex> index, py::handle gains,
                                          std::shared_ptr<StaticEncoder> encoder, py::handle neighbours,
                                          py::handle base, py::handle shrinkage, py::handle guard) {
  const GainRule rule = {count_of(neighbours, "neighbours", 1), number_of(base, "base", 1),
                         number_of(shrinkage, "shrinkage", 0), number_of(guard, "guard", 0)};
  return std::make_shared<NearestGains>(std::move(index), vector_of(array_of<float>(gains, "gains", 1)),
                                        std::move(encoder), rule);
}

py::array_t<double> explain_embeddings(const NearestGains& scorer, py::handle embeddings) {
  const auto rows = embeddings_of(embeddings, scorer.dim());
  const size_t count = extent(rows, 0);
  constexpr size_t kColumns = 3;
  py::array_t<double> out({count, kColumns});
  double* values = out.mutable_data();
  std::vector<LocalGain> found(count);
  in_slices(count, [&](size_t begin, size_t n) {
    scorer.explain_embeddings(rows.data() + begin * scorer.dim(), begin, n, found.data() + begin);
  });
  for (const LocalGain& gain : found) {
    *values++ = gain.gain;
    *values++ = gain.error;
    *values++ = gain.guarded;
  }
  return out;
}

}  // namespace

void bind_nearest_gains(py::module_& module) {
  py::class_<NearestGains, std::shared_ptr<NearestGains>>(module, "NearestGains")
      .def(py::init(&make_scorer), py::arg("index"), py::arg("gains"), py::arg("encoder").none(true), py::kw_only(),
           py::arg("neighbours"), py::arg("base"), py::arg("shrinkage"), py::arg("guard"))
      .def("score", &score<NearestGains>, py::arg("prompts"))
      .def("score_embeddings", &score_embeddings<NearestGains>, py::arg("embeddings"))
      .def("score_neighbours", &score_neighbours<NearestGains>, py::arg("ids"), py::arg("similarities"))
      .def("explain_embeddings", &explain_embeddings, py::arg("embeddings"))
      .def_property_readonly("dim", &NearestGains::dim)
      .def_property_readonly("mean_gain", &NearestGains::mean_gain)
      .def_property_readonly("size", &NearestGains::size);
}

}  // namespace fastroute::bindings
