// Texts in Arrow's buffers, which the core reads in place.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/arrow_strings.h"

namespace fastroute::bindings {

namespace py = pybind11;

// Holds the buffers, so that its texts stay valid while the GIL is released.
class ArrowTexts {
 public:
  ArrowTexts(py::handle layout, py::handle length, py::handle offset, py::handle buffers);

  std::span<const std::string_view> texts() const noexcept { return read_.texts; }
  const std::vector<text::NoText>& bad() const noexcept { return read_.bad; }

  // The same buffers without the rows that are no text.
  ArrowTexts good() const;

  // Rows of a dictionary whose values these are: an int64 array of indices, -1 for a null.
  ArrowTexts take(py::handle indices) const;

  // Throws InvalidType or InvalidArgument, which names the row, where one of `argument` is no text.
  void require_texts(const char* argument) const;

  // The like for one row.
  py::str at(py::ssize_t index) const;

 private:
  struct Release {
    void operator()(Py_buffer* buffer) const noexcept;
  };
  using Buffers = std::vector<std::unique_ptr<Py_buffer, Release>>;

  ArrowTexts(std::shared_ptr<const Buffers> buffers, text::ArrowTexts read)
      : buffers_(std::move(buffers)), read_(std::move(read)) {}

  std::shared_ptr<const Buffers> buffers_;
  text::ArrowTexts read_;
};

// The ArrowTexts that a Python object is, null for another.
std::shared_ptr<const ArrowTexts> arrow_texts_of(py::handle object);

}  // namespace fastroute::bindings
