#include "bindings/arguments.h"

#include <cmath>
#include <cstdint>

#include "runtime/error.h"
#include "text/utf8.h"

namespace fastroute::bindings {
namespace {

template <class Unit>
void append_utf8(const Unit* units, size_t count, std::string& out) {
  out.resize(4 * count);
  char* p = out.data();
  for (size_t i = 0; i < count; ++i) {
    char32_t c = units[i];
    if (c >= 0xD800 && c <= 0xDFFF) c = text::kReplacement;
    p += text::encode_utf8(c, p);
  }
  out.resize(static_cast<size_t>(p - out.data()));
}

// An exception here is the iterable's own.
py::tuple collect(PyObject* iterable) {
  PyObject* items = PySequence_Tuple(iterable);
  if (items == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::tuple>(items);
}

py::tuple tuple_of(py::handle iterable) {
  PyObject* object = iterable.ptr();
  const bool unordered = PyDict_Check(object) || PyAnySet_Check(object);
  if (unordered || PyBytes_Check(object) || PyByteArray_Check(object) || PyUnicode_Check(object)) {
    throw InvalidType("prompts: found " + type_name(iterable) + ", allowed: a str or a sequence of str");
  }
  if (PyList_CheckExact(object) || PyTuple_CheckExact(object)) return collect(object);
  // Iterating over a table would give the names of its columns.
  const py::object dimensions = py::getattr(iterable, "ndim", py::none());
  if (py::isinstance<py::int_>(dimensions) && !dimensions.equal(py::int_(1))) {
    throw InvalidType("prompts: found " + type_name(iterable) + " of " + std::string(py::str(dimensions)) +
                      " dimensions, allowed: a str or a sequence of str");
  }
  const auto iterator = py::reinterpret_steal<py::object>(PyObject_GetIter(object));
  if (!iterator) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    throw InvalidType("prompts: found " + type_name(iterable) + ", allowed: a str or a sequence of str");
  }
  return collect(iterator.ptr());
}

std::string shape_of(const py::array& array) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < array.ndim(); ++i) text += (i > 0 ? ", " : "") + std::to_string(array.shape(i));
  return text + (array.ndim() == 1 ? ",)" : ")");
}

}  // namespace

std::string type_name(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

std::string_view utf8_of(py::handle str, std::string& storage) {
  PyObject* object = str.ptr();
  const auto length = static_cast<size_t>(PyUnicode_GET_LENGTH(object));
  const void* data = PyUnicode_DATA(object);
  if (PyUnicode_IS_ASCII(object)) return {static_cast<const char*>(data), length};
  switch (PyUnicode_KIND(object)) {
    case PyUnicode_1BYTE_KIND:
      append_utf8(static_cast<const Py_UCS1*>(data), length, storage);
      break;
    case PyUnicode_2BYTE_KIND:
      append_utf8(static_cast<const Py_UCS2*>(data), length, storage);
      break;
    default:
      append_utf8(static_cast<const Py_UCS4*>(data), length, storage);
      break;
  }
  return storage;
}

Prompts::Prompts(py::handle iterable) {
  arrow_ = arrow_texts_of(iterable);
  if (arrow_ != nullptr) {
    arrow_->require_texts("prompts");
    texts_ = arrow_->texts();
    return;
  }
  items_ = tuple_of(iterable);
  const size_t count = items_.size();
  size_t wide = 0;
  for (size_t i = 0; i < count; ++i) {
    const py::handle item = PyTuple_GET_ITEM(items_.ptr(), static_cast<Py_ssize_t>(i));
    if (!PyUnicode_Check(item.ptr())) {
      throw InvalidType("prompts[" + std::to_string(i) + "]: found " + type_name(item) + ", allowed: str");
    }
    wide += PyUnicode_IS_ASCII(item.ptr()) ? 0 : 1;
  }
  storage_.reserve(wide);  // views point into the strings, which must not move
  views_.reserve(count);
  std::string unused;
  for (size_t i = 0; i < count; ++i) {
    const py::handle item = PyTuple_GET_ITEM(items_.ptr(), static_cast<Py_ssize_t>(i));
    views_.push_back(utf8_of(item, PyUnicode_IS_ASCII(item.ptr()) ? unused : storage_.emplace_back()));
    if (!PyUnicode_IS_ASCII(item.ptr())) {
      storage_.back().shrink_to_fit();  // four bytes a character were set aside
      views_.back() = storage_.back();
    }
  }
  texts_ = views_;
}

size_t count_of(py::handle object, const char* name, size_t least) {
  const std::string allowed = ", allowed: a whole number from " + std::to_string(least) + " up";
  PyObject* index = PyBool_Check(object.ptr()) ? nullptr : PyNumber_Index(object.ptr());
  if (index == nullptr) {
    PyErr_Clear();
    throw InvalidType(name + (": found " + type_name(object)) + allowed);
  }
  const auto number = py::reinterpret_steal<py::int_>(index);
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow != 0) throw InvalidArgument(name + std::string(": found a number beyond 64 bits") + allowed);
  if (value < 0 || static_cast<size_t>(value) < least) {
    throw InvalidArgument(name + (": found " + std::to_string(value)) + allowed);
  }
  return static_cast<size_t>(value);
}

double number_of(py::handle object, const char* name, int least) {
  const std::string allowed = ", allowed: a finite number from " + std::to_string(least) + " up";
  const double value = PyBool_Check(object.ptr()) ? -1 : PyFloat_AsDouble(object.ptr());
  if (PyErr_Occurred() != nullptr && PyErr_ExceptionMatches(PyExc_OverflowError)) {
    PyErr_Clear();
    throw InvalidArgument(name + std::string(": found a number beyond a float") + allowed);
  }
  if (PyBool_Check(object.ptr()) || PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw InvalidType(name + (": found " + type_name(object)) + allowed);
  }
  if (!(std::isfinite(value) && value >= least)) {
    throw InvalidArgument(name + (": found " + std::string(py::str(py::float_(value)))) + allowed);
  }
  return value;
}

template <class T>
py::array_t<T, py::array::c_style> array_of(py::handle object, const char* name, py::ssize_t ndim) {
  const std::string allowed = ", allowed: a C-contiguous " + std::to_string(ndim) + "-dimensional array of " +
                              std::string(py::str(py::dtype::of<T>()));
  if (!py::isinstance<py::array>(object)) throw InvalidType(name + (": found " + type_name(object)) + allowed);
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(py::dtype::of<T>())) {
    throw InvalidType(name + (": found dtype " + std::string(py::str(array.dtype()))) + allowed);
  }
  if (array.ndim() != ndim) throw InvalidArgument(name + (": found shape " + shape_of(array)) + allowed);
  if ((array.flags() & py::array::c_style) == 0) {
    throw InvalidArgument(name + std::string(": found an array that is not C-contiguous") + allowed +
                          " (numpy.ascontiguousarray makes one)");
  }
  if ((array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) {
    throw InvalidArgument(name + std::string(": found an array that is not aligned") + allowed +
                          " (a copy of it is aligned)");
  }
  return py::reinterpret_borrow<py::array_t<T, py::array::c_style>>(object);
}

template py::array_t<float, py::array::c_style> array_of<float>(py::handle, const char*, py::ssize_t);
template py::array_t<double, py::array::c_style> array_of<double>(py::handle, const char*, py::ssize_t);
template py::array_t<int8_t, py::array::c_style> array_of<int8_t>(py::handle, const char*, py::ssize_t);
template py::array_t<int64_t, py::array::c_style> array_of<int64_t>(py::handle, const char*, py::ssize_t);
template py::array_t<uint16_t, py::array::c_style> array_of<uint16_t>(py::handle, const char*, py::ssize_t);

py::array_t<float, py::array::c_style> embeddings_of(py::handle object, size_t dim) {
  auto rows = array_of<float>(object, "embeddings", 2);
  if (static_cast<size_t>(rows.shape(1)) != dim) {
    throw InvalidArgument("embeddings: found " + std::to_string(rows.shape(1)) +
                          " columns, allowed: " + std::to_string(dim));
  }
  return rows;
}

text::Workspace& thread_workspace() {
  thread_local text::Workspace workspace;
  return workspace;
}

void trim(text::Workspace& workspace) {
  constexpr size_t kKept = 1 << 16;
  if (workspace.ids.capacity() > kKept) workspace.ids = {};
}

}  // namespace fastroute::bindings
