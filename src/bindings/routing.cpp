#include <memory>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "routing/linear_scorer.h"
#include "routing/matrix_factorization.h"
#include "runtime/error.h"

namespace fastroute::bindings {
namespace {

std::shared_ptr<MatrixFactorization> make_matrix_factorization(py::handle model_embedding, py::handle projection,
                                                               py::handle classifier, py::handle model_bias) {
  return std::make_shared<MatrixFactorization>(vector_of(array_of<float>(model_embedding, "model_embedding", 2)),
                                               vector_of(array_of<float>(projection, "projection", 2)),
                                               vector_of(array_of<float>(classifier, "classifier", 1)),
                                               vector_of(array_of<float>(model_bias, "model_bias", 1)));
}

std::shared_ptr<LinearScorer> make_pair_scorer(const MatrixFactorization& model, std::shared_ptr<StaticEncoder> encoder,
                                               size_t strong, size_t weak) {
  auto pair = model.pair(strong, weak);
  return std::make_shared<LinearScorer>(std::move(encoder), std::move(pair.weights), pair.bias);
}

py::array_t<float> logits(const MatrixFactorization& model, py::handle embeddings) {
  const auto rows = embeddings_of(embeddings, model.dim());
  const auto count = static_cast<size_t>(rows.shape(0));
  py::array_t<float> out({count, model.models()});
  float* values = out.mutable_data();
  const py::gil_scoped_release release;
  model.logits(rows.data(), count, values);
  return out;
}

py::object score(const LinearScorer& scorer, py::handle prompts) {
  if (PyUnicode_Check(prompts.ptr())) {
    return py::float_(with_text(
        prompts, [&](std::string_view text) { return static_cast<double>(scorer.score(text, thread_workspace())); }));
  }
  const Prompts batch(prompts);
  py::array_t<float> out(static_cast<py::ssize_t>(batch.texts().size()));
  float* values = out.mutable_data();
  for_slices(batch, [&](size_t begin, size_t end) {
    scorer.score_batch(batch.texts().data() + begin, end - begin, values + begin);
  });
  return out;
}

py::array_t<float> score_embeddings(const LinearScorer& scorer, py::handle embeddings) {
  const auto rows = embeddings_of(embeddings, scorer.dim());
  const auto count = static_cast<size_t>(rows.shape(0));
  py::array_t<float> out(static_cast<py::ssize_t>(count));
  float* values = out.mutable_data();
  const py::gil_scoped_release release;
  scorer.score_embeddings(rows.data(), count, values);
  return out;
}

}  // namespace

void bind_routing(py::module_& module) {
  py::class_<MatrixFactorization, std::shared_ptr<MatrixFactorization>>(module, "MatrixFactorization")
      .def(py::init(&make_matrix_factorization), py::arg("model_embedding"), py::arg("projection"),
           py::arg("classifier"), py::arg("model_bias"))
      .def("logits", &logits, py::arg("embeddings"))
      .def("pair_scorer", &make_pair_scorer, py::arg("encoder").none(true), py::arg("strong"), py::arg("weak"))
      .def_property_readonly("dim", &MatrixFactorization::dim)
      .def_property_readonly("models", &MatrixFactorization::models);

  py::class_<LinearScorer, std::shared_ptr<LinearScorer>>(module, "LinearScorer")
      .def("score", &score, py::arg("prompts"))
      .def("score_embeddings", &score_embeddings, py::arg("embeddings"))
      .def_property_readonly("bias", &LinearScorer::bias)
      .def_property_readonly("weights", [](const LinearScorer& scorer) {
        return py::array_t<float>(static_cast<py::ssize_t>(scorer.weights().size()), scorer.weights().data());
      });
}

}  // namespace fastroute::bindings
