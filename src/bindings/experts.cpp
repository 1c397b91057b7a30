#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "routing/domain_experts.h"
#include "runtime/error.h"
#include "text/surface_features.h"
#include "text/word_lists.h"

namespace fastroute::bindings {
namespace {

// Fields of DomainExpertsParameters by the name that Python gives them, with their number of dimensions.
struct Field {
  const char* name;
  std::vector<float> DomainExpertsParameters::* member;
  py::ssize_t ndim;
};
constexpr Field kFields[] = {
    {"surface_mean", &DomainExpertsParameters::surface_mean, 1},
    {"surface_scale", &DomainExpertsParameters::surface_scale, 1},
    {"classifier_bias", &DomainExpertsParameters::classifier_bias, 1},
    {"classifier_surface", &DomainExpertsParameters::classifier_surface, 2},
    {"classifier_embedding", &DomainExpertsParameters::classifier_embedding, 2},
    {"expert_bias", &DomainExpertsParameters::expert_bias, 1},
    {"expert_mean", &DomainExpertsParameters::expert_mean, 2},
    {"expert_scale", &DomainExpertsParameters::expert_scale, 2},
    {"expert_surface", &DomainExpertsParameters::expert_surface, 2},
    {"expert_embedding", &DomainExpertsParameters::expert_embedding, 2},
    {"gate_bias", &DomainExpertsParameters::gate_bias, 1},
    {"gate_surface", &DomainExpertsParameters::gate_surface, 2},
    {"gate_embedding", &DomainExpertsParameters::gate_embedding, 2},
    {"gate_ramp", &DomainExpertsParameters::gate_ramp, 2},
    {"density_scale", &DomainExpertsParameters::density_scale, 2},
    {"density_ramp", &DomainExpertsParameters::density_ramp, 2},
};

std::shared_ptr<DomainExperts> make_experts(std::shared_ptr<StaticEncoder> encoder, const py::kwargs& arrays) {
  DomainExpertsParameters parameters;
  for (const Field& field : kFields) {
    if (!arrays.contains(field.name)) throw InvalidArgument(std::string(field.name) + ": not given");
    const auto array = array_of<float>(arrays[field.name], field.name, field.ndim);
    parameters.*field.member = vector_of(array);
    if (field.member == &DomainExpertsParameters::classifier_embedding) {
      parameters.domains = static_cast<size_t>(array.shape(0));
      parameters.dim = static_cast<size_t>(array.shape(1));
    }
  }
  return std::make_shared<DomainExperts>(std::move(encoder), std::move(parameters));
}

// Checked embeddings for a batch; none where Python gives None.
class Rows {
 public:
  Rows(py::handle embeddings, size_t count, size_t dim) : dim_(dim) {
    if (embeddings.is_none()) return;
    array_ = embeddings_of(embeddings, dim);
    data_ = array_.data();
    if (static_cast<size_t>(array_.shape(0)) != count) {
      throw InvalidArgument("embeddings: found " + std::to_string(array_.shape(0)) +
                            " rows, allowed: one for each of " + std::to_string(count) + " prompts");
    }
  }

  const float* from(size_t row) const noexcept { return data_ == nullptr ? nullptr : data_ + row * dim_; }

 private:
  py::array_t<float, py::array::c_style> array_;
  const float* data_ = nullptr;
  size_t dim_;
};

ExpertsWorkspace& experts_workspace() {
  thread_local ExpertsWorkspace workspace;
  return workspace;
}

double one_gain(const DomainExperts& experts, py::handle prompt) {
  return with_text(prompt, [&](std::string_view text) { return experts.gain(text, experts_workspace()); });
}

std::vector<double> gains_of(const DomainExperts& experts, const Prompts& batch, py::handle embeddings) {
  const Rows rows(embeddings, batch.texts().size(), experts.dim());
  std::vector<double> out(batch.texts().size());
  for_slices(batch, [&](size_t begin, size_t end) {
    experts.gains(batch.texts().data() + begin, rows.from(begin), begin, end - begin, out.data() + begin);
  });
  return out;
}

py::object score(const DomainExperts& experts, py::handle prompts, py::handle embeddings) {
  if (PyUnicode_Check(prompts.ptr()) && embeddings.is_none()) {
    return py::float_(static_cast<double>(DomainExperts::score_of(one_gain(experts, prompts))));
  }
  const auto gains = gains_of(experts, Prompts(prompts), embeddings);
  py::array_t<float> out(static_cast<py::ssize_t>(gains.size()));
  std::transform(gains.begin(), gains.end(), out.mutable_data(), &DomainExperts::score_of);
  return out;
}

py::object gain(const DomainExperts& experts, py::handle prompts, py::handle embeddings) {
  if (PyUnicode_Check(prompts.ptr()) && embeddings.is_none()) return py::float_(one_gain(experts, prompts));
  const auto gains = gains_of(experts, Prompts(prompts), embeddings);
  return py::array_t<double>(static_cast<py::ssize_t>(gains.size()), gains.data());
}

py::tuple mixture(const DomainExperts& experts, py::handle prompts, py::handle embeddings) {
  const Prompts batch(prompts);
  const size_t count = batch.texts().size();
  const Rows rows(embeddings, count, experts.dim());
  py::array_t<double> weights({count, experts.experts()});
  py::array_t<double> gains({count, experts.experts()});
  double* w = weights.mutable_data();
  double* g = gains.mutable_data();
  for_slices(batch, [&](size_t begin, size_t end) {
    const size_t first = begin * experts.experts();
    experts.mixture(batch.texts().data() + begin, rows.from(begin), begin, end - begin, w + first, g + first);
  });
  return py::make_tuple(weights, gains);
}

py::array_t<float> surface_features(py::handle prompts) {
  const Prompts batch(prompts);
  py::array_t<float> out({batch.texts().size(), text::kSurfaceFeatures});
  float* rows = out.mutable_data();
  for_slices(batch, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) text::surface_features(batch.texts()[i], rows + i * text::kSurfaceFeatures);
  });
  return out;
}

py::tuple surface_names() {
  py::tuple names(text::kSurfaceFeatures);
  for (size_t j = 0; j < names.size(); ++j) names[j] = py::str(std::string(text::kSurfaceNames[j]));
  return names;
}

py::dict surface_word_lists() {
  py::dict lists;
  for (const auto& list : text::kWordListTable) {
    lists[py::str(std::string(list.name))] = py::tuple(py::str(std::string(list.words)).attr("split")());
  }
  return lists;
}

}  // namespace

void bind_experts(py::module_& module) {
  module.attr("SURFACE_VERSION") = text::kSurfaceVersion;
  module.attr("SURFACE_CLIP") = kSurfaceClip;
  module.attr("EXPERT_CLIP") = kExpertClip;
  module.def("surface_names", &surface_names);
  module.def("surface_word_lists", &surface_word_lists);
  module.def("surface_features", &surface_features, py::arg("prompts"));

  py::class_<DomainExperts, std::shared_ptr<DomainExperts>>(module, "DomainExperts")
      .def(py::init(&make_experts), py::arg("encoder").none(true))
      .def("score", &score, py::arg("prompts"), py::arg("embeddings") = py::none())
      .def("gain", &gain, py::arg("prompts"), py::arg("embeddings") = py::none())
      .def("mixture", &mixture, py::arg("prompts"), py::arg("embeddings") = py::none())
      .def_property_readonly("dim", &DomainExperts::dim)
      .def_property_readonly("domains", &DomainExperts::domains)
      .def_property_readonly("experts", &DomainExperts::experts);
}

}  // namespace fastroute::bindings
