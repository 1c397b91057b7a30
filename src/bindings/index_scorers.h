// score() and score_embeddings() of scorers whose prompts cost a pass over an index.
#pragma once

#include <string>
#include <string_view>

#include "bindings/arguments.h"

namespace fastroute::bindings {

// one(text) for a str, many(texts, count, out) for others, `slice` of them at a time.
template <class One, class Many>
py::object for_prompts(py::handle prompts, size_t slice, const One& one, const Many& many) {
  if (PyUnicode_Check(prompts.ptr())) {
    std::string storage;
    const std::string_view text = utf8_of(prompts, storage);
    const auto result = [&] {
      const py::gil_scoped_release release;
      return static_cast<double>(one(text));
    }();
    return py::float_(result);
  }
  const Prompts batch(prompts);
  py::array_t<float> out(static_cast<py::ssize_t>(batch.texts().size()));
  float* values = out.mutable_data();
  if (batch.texts().empty()) many(nullptr, 0, values);  // what is wrong besides is said all the same
  in_slices(batch.texts().size(), slice,
            [&](size_t begin, size_t count) { many(batch.texts().data() + begin, count, values + begin); });
  return out;
}

// many(rows, first, count, out) for embeddings.
template <class Many>
py::array_t<float> for_embeddings(py::handle embeddings, size_t dim, size_t slice, const Many& many) {
  const auto rows = embeddings_of(embeddings, dim);
  py::array_t<float> out(rows.shape(0));
  float* values = out.mutable_data();
  if (rows.shape(0) == 0) many(nullptr, 0, 0, values);
  in_slices(extent(rows, 0), slice,
            [&](size_t begin, size_t count) { many(rows.data() + begin * dim, begin, count, values + begin); });
  return out;
}

template <class Scorer>
py::object score(const Scorer& scorer, py::handle prompts) {
  return for_prompts(
      prompts, passes_at_once(), [&](std::string_view text) { return scorer.score(text); },
      [&](const std::string_view* texts, size_t count, float* out) { scorer.score_batch(texts, count, out); });
}

template <class Scorer>
py::array_t<float> score_embeddings(const Scorer& scorer, py::handle embeddings) {
  return for_embeddings(embeddings, scorer.dim(), passes_at_once(),
                        [&](const float* rows, size_t first, size_t count, float* out) {
                          scorer.score_embeddings(rows, first, count, out);
                        });
}

}  // namespace fastroute::bindings
