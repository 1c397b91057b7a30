// score() and score_embeddings() of scorers whose prompts cost a pass over an index.
#pragma once

#include <string>

#include "bindings/arguments.h"

namespace fastroute::bindings {

template <class Scorer>
py::object score(const Scorer& scorer, py::handle prompts) {
  if (PyUnicode_Check(prompts.ptr())) {
    std::string storage;
    const std::string_view text = utf8_of(prompts, storage);
    const auto result = [&] {
      const py::gil_scoped_release release;
      return static_cast<double>(scorer.score(text));
    }();
    return py::float_(result);
  }
  const Prompts batch(prompts);
  py::array_t<float> out(static_cast<py::ssize_t>(batch.texts().size()));
  float* values = out.mutable_data();
  in_slices(batch.texts().size(), [&](size_t begin, size_t count) {
    scorer.score_batch(batch.texts().data() + begin, count, values + begin);
  });
  return out;
}

template <class Scorer>
py::array_t<float> score_embeddings(const Scorer& scorer, py::handle embeddings) {
  const auto rows = embeddings_of(embeddings, scorer.dim());
  py::array_t<float> out(rows.shape(0));
  float* values = out.mutable_data();
  in_slices(extent(rows, 0), [&](size_t begin, size_t count) {
    scorer.score_embeddings(rows.data() + begin * scorer.dim(), begin, count, values + begin);
  });
  return out;
}

}  // namespace fastroute::bindings
