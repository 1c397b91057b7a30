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

py::array_t<double> columns_of(const std::vector<LocalGain>& found) {
  constexpr size_t kColumns = 3;
  py::array_t<double> out({found.size(), kColumns});
  double* values = out.mutable_data();
  for (const LocalGain& gain : found) {
    *values++ = gain.gain;
    *values++ = gain.error;
    *values++ = gain.guarded;
  }
  return out;
}

py::array_t<double> explain_neighbours(const NearestGains& scorer, py::handle ids, py::handle similarities) {
  const GivenNeighbours given(ids, similarities);
  std::vector<LocalGain> found(given.count);
  in_slices(given.count, [&](size_t begin, size_t n) {
    const size_t place = begin * given.k;
    scorer.explain_neighbours({given.ids.data() + place, given.similarities.data() + place, given.k}, begin, n,
                              found.data() + begin);
  });
  return columns_of(found);
}

}  // namespace

void bind_nearest_gains(py::module_& module) {
  py::class_<NearestGains, std::shared_ptr<NearestGains>>(module, "NearestGains")
      .def(py::init(&make_scorer), py::arg("index"), py::arg("gains"), py::arg("encoder").none(true), py::kw_only(),
           py::arg("neighbours"), py::arg("base"), py::arg("shrinkage"), py::arg("guard"))
      .def("score", &score<NearestGains>, py::arg("prompts"))
      .def("score_embeddings", &score_embeddings<NearestGains>, py::arg("embeddings"))
      .def("score_neighbours", &score_neighbours<NearestGains>, py::arg("ids"), py::arg("similarities"))
      .def("explain_neighbours", &explain_neighbours, py::arg("ids"), py::arg("similarities"))
      .def_property_readonly("dim", &NearestGains::dim)
      .def_property_readonly("mean_gain", &NearestGains::mean_gain)
      .def_property_readonly("size", &NearestGains::size);
}

}  // namespace fastroute::bindings
