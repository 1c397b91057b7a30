#include "bindings/arrow_texts.h"

#include <algorithm>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "runtime/error.h"

namespace fastroute::bindings {
namespace {

text::ArrowLayout layout_of(py::handle object) {
  constexpr const char* kAllowed = ", allowed: 'u', 'U' or 'vu', Arrow's formats of utf8, large_utf8 and utf8_view";
  if (!PyUnicode_Check(object.ptr())) throw InvalidType("layout: found " + type_name(object) + kAllowed);
  std::string storage;
  const std::string_view format = utf8_of(object, storage);
  if (format == "u") return text::ArrowLayout::kUtf8;
  if (format == "U") return text::ArrowLayout::kLargeUtf8;
  if (format == "vu") return text::ArrowLayout::kUtf8View;
  throw InvalidArgument("layout: found '" + std::string(format) + "'" + kAllowed);
}

py::tuple buffers_of(py::handle object) {
  if (!PyList_Check(object.ptr()) && !PyTuple_Check(object.ptr())) {
    throw InvalidType("buffers: found " + type_name(object) + ", allowed: a list of buffers and None");
  }
  return py::reinterpret_steal<py::tuple>(PySequence_Tuple(object.ptr()));
}

[[noreturn]] void refuse(const char* argument, const text::NoText& bad) {
  const std::string place = argument + ("[" + std::to_string(bad.row)) + "]: ";
  if (!bad.byte) throw InvalidType(place + "found null, allowed: str");
  throw InvalidArgument(place + "invalid UTF-8 at byte " + std::to_string(*bad.byte + 1));
}

py::list bad_rows(const ArrowTexts& texts) {
  py::list rows;
  for (const auto& bad : texts.bad()) {
    rows.append(py::make_tuple(bad.row, bad.byte ? py::object(py::int_(*bad.byte)) : py::object(py::none())));
  }
  return rows;
}

}  // namespace

void ArrowTexts::Release::operator()(Py_buffer* buffer) const noexcept {
  PyBuffer_Release(buffer);
  delete buffer;
}

ArrowTexts::ArrowTexts(py::handle layout, py::handle length, py::handle offset, py::handle buffers) {
  text::ArrowStrings array;
  array.layout = layout_of(layout);
  array.length = count_of(length, "length", 0);
  array.offset = count_of(offset, "offset", 0);
  const py::tuple given = buffers_of(buffers);
  const bool is_view = array.layout == text::ArrowLayout::kUtf8View;
  if (is_view ? given.size() < 2 : given.size() != 3) {
    throw InvalidArgument("buffers: found " + std::to_string(given.size()) + ", allowed: " +
                          (is_view ? "validity, views and any number of data" : "validity, offsets and data"));
  }
  auto held = std::make_shared<Buffers>();
  for (size_t i = 0; i < given.size(); ++i) {
    const py::handle buffer = PyTuple_GET_ITEM(given.ptr(), static_cast<Py_ssize_t>(i));
    std::string_view bytes = "";
    if (!buffer.is_none()) {
      auto view = std::make_unique<Py_buffer>();
      if (PyObject_GetBuffer(buffer.ptr(), view.get(), PyBUF_SIMPLE) != 0) {
        PyErr_Clear();
        throw InvalidType("buffers[" + std::to_string(i) + "]: found " + type_name(buffer) +
                          ", allowed: contiguous bytes, or None");
      }
      held->emplace_back(view.release());
      if (held->back()->len > 0) {
        bytes = {static_cast<const char*>(held->back()->buf), static_cast<size_t>(held->back()->len)};
      }
    }
    if (i == 0 && !buffer.is_none()) array.validity = bytes;
    if (i == 1) array.slots = bytes;
    if (i >= 2) array.data.push_back(bytes);
  }
  buffers_ = std::move(held);
  const py::gil_scoped_release release;
  read_ = text::read_arrow(array);
}

ArrowTexts ArrowTexts::good() const { return {buffers_, text::good_texts(read_)}; }

ArrowTexts ArrowTexts::take(py::handle indices) const {
  const auto given = array_of<int64_t>(indices, "indices", 1);
  const std::span<const int64_t> rows{given.data(), extent(given, 0)};
  text::ArrowTexts taken;
  {
    const py::gil_scoped_release release;
    taken = text::take(read_, rows);
  }
  return {buffers_, std::move(taken)};
}

void ArrowTexts::require_texts(const char* argument) const {
  if (!read_.bad.empty()) refuse(argument, read_.bad.front());
}

py::str ArrowTexts::at(py::ssize_t index) const {
  const auto count = static_cast<py::ssize_t>(read_.texts.size());
  if (index < -count || index >= count) throw py::index_error();
  const auto row = static_cast<size_t>(index < 0 ? index + count : index);
  const auto bad = std::ranges::lower_bound(read_.bad, row, {}, &text::NoText::row);
  if (bad != read_.bad.end() && bad->row == row) refuse("texts", *bad);
  const std::string_view text = read_.texts[row];
  // "replace": another thread may have written to the buffer since it was checked
  PyObject* str = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
  if (str == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(str);
}

std::shared_ptr<const ArrowTexts> arrow_texts_of(py::handle object) {
  if (!py::isinstance<ArrowTexts>(object)) return nullptr;
  try {
    return py::cast<std::shared_ptr<ArrowTexts>>(object);
  } catch (const py::cast_error&) {  // made by __new__ alone
    throw InvalidType("prompts: found " + type_name(object) + " without buffers");
  }
}

void bind_arrow(py::module_& module) {
  py::class_<ArrowTexts, std::shared_ptr<ArrowTexts>>(module, "ArrowTexts")
      .def(py::init<py::handle, py::handle, py::handle, py::handle>(), py::arg("layout"), py::arg("length"),
           py::arg("offset"), py::arg("buffers"))
      .def("bad", &bad_rows)
      .def("good", &ArrowTexts::good)
      .def("take", &ArrowTexts::take, py::arg("indices"))
      .def("__getitem__", &ArrowTexts::at, py::arg("index"))
      .def("__iter__",
           [](py::handle self) {
             PyObject* iterator = PySeqIter_New(self.ptr());
             if (iterator == nullptr) throw py::error_already_set();
             return py::reinterpret_steal<py::object>(iterator);
           })
      .def("__len__", [](const ArrowTexts& texts) { return texts.texts().size(); });
}

}  // namespace fastroute::bindings
