// Python arguments, checked: each failure is an InvalidArgument or InvalidType that names the argument, what was found
// and what is allowed.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/arrow_texts.h"
#include "runtime/thread_pool.h"
#include "text/wordpiece.h"

namespace fastroute::bindings {

namespace py = pybind11;

// The name of an object's type, for messages.
std::string type_name(py::handle object);

// A str as UTF-8. ASCII strings are read in place and must outlive the view; others are written to `storage`. Lone
// surrogates, which UTF-8 can't hold, become U+FFFD.
std::string_view utf8_of(py::handle str, std::string& storage);

// A batch of prompts, held so that its texts stay valid while the GIL is released: any iterable of str, or ArrowTexts,
// whose buffers are read in place.
class Prompts {
 public:
  explicit Prompts(py::handle iterable);

  std::span<const std::string_view> texts() const noexcept { return texts_; }

 private:
  std::shared_ptr<const ArrowTexts> arrow_;
  py::tuple items_;
  std::vector<std::string> storage_;
  std::vector<std::string_view> views_;
  std::span<const std::string_view> texts_;  // views_, or those of arrow_
};

// Runs body(begin, end) over slices of the prompts without the GIL; between slices a pending Ctrl-C is raised.
template <class Body>
void for_slices(const Prompts& prompts, const Body& body) {
  constexpr size_t kBytesPerSlice = 4 << 20;  // some 20 ms
  constexpr size_t kPromptsPerSlice = 1 << 16;
  const auto texts = prompts.texts();
  for (size_t begin = 0; begin < texts.size();) {
    size_t end = begin;
    for (size_t bytes = 0; end < texts.size() && end - begin < kPromptsPerSlice && bytes < kBytesPerSlice; ++end) {
      bytes += texts[end].size();
    }
    {
      const py::gil_scoped_release release;
      body(begin, end);
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    begin = end;
  }
}

// The like for work of `slice` items at a time: runs body(begin, count).
template <class Body>
void in_slices(size_t count, size_t slice, const Body& body) {
  for (size_t begin = 0; begin < count; begin += slice) {
    {
      const py::gil_scoped_release release;
      body(begin, std::min(slice, count - begin));
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

// Items of milliseconds each that are worked on between two looks at signals: a pass of 64 for each thread.
inline size_t passes_at_once() { return 64 * num_threads(); }

template <class Body>
void in_slices(size_t count, const Body& body) {
  in_slices(count, passes_at_once(), body);
}

// A whole number from `least` up, as Python's int or what stands for one; no bool.
size_t count_of(py::handle object, const char* name, size_t least);

// A finite number from `least` up, as Python's float or what stands for one; no bool.
double number_of(py::handle object, const char* name, int least);

// A C-contiguous array of exactly this element type and number of dimensions; no silent conversion.
template <class T>
py::array_t<T, py::array::c_style> array_of(py::handle object, const char* name, py::ssize_t ndim);

template <class T>
std::vector<T> vector_of(const py::array_t<T, py::array::c_style>& array) {
  return {array.data(), array.data() + array.size()};
}

inline size_t extent(const py::array& array, int axis) { return static_cast<size_t>(array.shape(axis)); }

// Rows of embeddings with `dim` columns.
py::array_t<float, py::array::c_style> embeddings_of(py::handle object, size_t dim);

// A prompt beyond this many bytes is scored without the GIL: about 5 microseconds of work.
constexpr size_t kBytesWorthReleasing = 1024;

// This thread's Workspace for prompts on their own, kept between calls.
text::Workspace& thread_workspace();

// body(text) for one prompt, a str, as UTF-8; without the GIL where the text is long.
template <class Body>
auto with_text(py::handle prompt, const Body& body) {
  constexpr size_t kKeptBytes = 1 << 16;
  thread_local std::string storage;
  const std::string_view text = utf8_of(prompt, storage);
  const auto result = [&] {
    if (text.size() <= kBytesWorthReleasing) return body(text);
    const py::gil_scoped_release release;
    return body(text);
  }();
  if (storage.capacity() > kKeptBytes) storage = {};
  return result;
}

// Gives back what an unusually long text left in a Workspace.
void trim(text::Workspace& workspace);

}  // namespace fastroute::bindings
