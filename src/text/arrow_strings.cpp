#include "text/arrow_strings.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/thread_pool.h"
#include "text/utf8.h"

namespace fastroute::text {
namespace {

constexpr size_t kRowsPerTask = 512;

enum State : uint8_t { kText, kNull, kNotUtf8 };

// Buffers may lie anywhere.
template <class T>
T load(std::string_view bytes, size_t index) noexcept {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

// Whether `available` items hold `offset` that are passed over and `length` that are read.
bool hold(size_t available, size_t offset, size_t length) noexcept {
  return offset <= available && length <= available - offset;
}

void require(bool enough, const char* buffer, size_t bytes, const std::string& needed, const ArrowStrings& array) {
  if (enough) return;
  throw InvalidArgument(buffer + (": found " + std::to_string(bytes)) + " bytes, allowed: " + needed + " for " +
                        std::to_string(array.length) + " rows from slot " + std::to_string(array.offset));
}

[[noreturn]] void refuse(const char* buffer, size_t row, const std::string& found) {
  throw InvalidArgument(buffer + (": row " + std::to_string(row)) + ": " + found);
}

bool is_null(const ArrowStrings& array, size_t row) noexcept {
  if (!array.validity) return false;
  const size_t slot = array.offset + row;
  return (static_cast<unsigned char>((*array.validity)[slot / 8]) >> slot % 8 & 1) == 0;
}

// Each offset is read once: a buffer that another thread writes to can't change what has been checked.
template <class Offset>
void read_offsets(const ArrowStrings& array, std::vector<std::string_view>& texts) {
  const size_t available = array.slots.size() / sizeof(Offset);
  const std::string needed = "one more than there are slots of " + std::to_string(sizeof(Offset));
  require(available > 0 && hold(available - 1, array.offset, array.length), "offsets", array.slots.size(), needed,
          array);
  texts.resize(array.length);
  const std::string_view data = array.data.front();
  auto begin = load<Offset>(array.slots, array.offset);
  for (size_t row = 0; row < array.length; ++row) {
    const auto end = load<Offset>(array.slots, array.offset + row + 1);
    if (begin < 0 || end < begin || static_cast<uint64_t>(end) > data.size()) {
      refuse("offsets", row,
             "found " + std::to_string(begin) + " to " + std::to_string(end) + ", allowed: ascending, 0 to " +
                 std::to_string(data.size()));
    }
    texts[row] = data.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    begin = end;
  }
}

// A view is 16 bytes: its length, then the string where that is 12 or less, else four bytes of it, the buffer and the
// place there.
void read_views(const ArrowStrings& array, std::vector<std::string_view>& texts) {
  constexpr size_t kViewBytes = 16;
  constexpr int32_t kInline = 12;
  require(hold(array.slots.size() / kViewBytes, array.offset, array.length), "views", array.slots.size(), "16 a slot",
          array);
  texts.resize(array.length);
  for (size_t row = 0; row < array.length; ++row) {
    if (is_null(array, row)) continue;  // what a null's view holds is not said
    const std::string_view view = array.slots.substr((array.offset + row) * kViewBytes, kViewBytes);
    const auto length = load<int32_t>(view, 0);
    if (length < 0) refuse("views", row, "found a length of " + std::to_string(length) + ", allowed: 0 or more");
    if (length <= kInline) {
      texts[row] = view.substr(sizeof(int32_t), static_cast<size_t>(length));
      continue;
    }
    const auto buffer = load<int32_t>(view, 2);
    const auto begin = load<int32_t>(view, 3);
    if (buffer < 0 || static_cast<size_t>(buffer) >= array.data.size()) {
      refuse("views", row,
             "found buffer " + std::to_string(buffer) + ", allowed: one of " + std::to_string(array.data.size()));
    }
    const std::string_view data = array.data[static_cast<size_t>(buffer)];
    if (begin < 0 || !hold(data.size(), static_cast<size_t>(begin), static_cast<size_t>(length))) {
      refuse("views", row,
             "found " + std::to_string(length) + " bytes from " + std::to_string(begin) + ", allowed: within the " +
                 std::to_string(data.size()) + " of buffer " + std::to_string(buffer));
    }
    texts[row] = data.substr(static_cast<size_t>(begin), static_cast<size_t>(length));
  }
}

// Sizes `texts` once the buffers are known to hold as many.
void read_slots(const ArrowStrings& array, std::vector<std::string_view>& texts) {
  switch (array.layout) {
    case ArrowLayout::kUtf8:
      return read_offsets<int32_t>(array, texts);
    case ArrowLayout::kLargeUtf8:
      return read_offsets<int64_t>(array, texts);
    case ArrowLayout::kUtf8View:
      return read_views(array, texts);
  }
}

}  // namespace

ArrowTexts read_arrow(const ArrowStrings& array) {
  if (array.layout != ArrowLayout::kUtf8View && array.data.size() != 1) {
    throw InvalidArgument("data: found " + std::to_string(array.data.size()) + " buffers, allowed: 1");
  }
  ArrowTexts read;
  if (array.length == 0) return read;  // no buffer need be there
  if (array.validity) {
    const size_t bytes = array.validity->size();
    const size_t slots = bytes > SIZE_MAX / 8 ? SIZE_MAX : bytes * 8;
    require(hold(slots, array.offset, array.length), "validity", bytes, "a bit a slot", array);
  }
  read_slots(array, read.texts);
  std::vector<State> states(array.length, kText);
  parallel_for(array.length, kRowsPerTask, [&](size_t first, size_t last) {
    for (size_t row = first; row < last; ++row) {
      std::string_view& text = read.texts[row];
      if (is_null(array, row)) {
        states[row] = kNull;
        text = "";
      } else if (well_formed_bytes(text) < text.size()) {
        states[row] = kNotUtf8;
      } else if (text.empty()) {
        text = "";  // not a null pointer
      }
    }
  });
  for (size_t row = 0; row < array.length; ++row) {
    if (states[row] == kNull) read.bad.push_back({row, std::nullopt});
    if (states[row] == kNotUtf8) {
      read.bad.push_back({row, well_formed_bytes(read.texts[row])});
      read.texts[row] = "";
    }
  }
  return read;
}

ArrowTexts take(const ArrowTexts& values, std::span<const int64_t> indices) {
  ArrowTexts taken;
  taken.texts.resize(indices.size(), std::string_view(""));
  for (size_t row = 0; row < indices.size(); ++row) {
    const int64_t index = indices[row];
    if (index == -1) {
      taken.bad.push_back({row, std::nullopt});
      continue;
    }
    if (index < 0 || static_cast<uint64_t>(index) >= values.texts.size()) {
      refuse("indices", row,
             "found " + std::to_string(index) + ", allowed: below the " + std::to_string(values.texts.size()) +
                 " of the dictionary, or -1 for a null");
    }
    const auto at = static_cast<size_t>(index);
    taken.texts[row] = values.texts[at];
    if (values.bad.empty()) continue;
    const auto bad = std::ranges::lower_bound(values.bad, at, {}, &NoText::row);
    if (bad != values.bad.end() && bad->row == at) taken.bad.push_back({row, bad->byte});
  }
  return taken;
}

ArrowTexts good_texts(const ArrowTexts& read) {
  ArrowTexts good;
  good.texts.reserve(read.texts.size() - read.bad.size());
  size_t row = 0;
  for (const auto& bad : read.bad) {
    for (; row < bad.row; ++row) good.texts.push_back(read.texts[row]);
    ++row;
  }
  for (; row < read.texts.size(); ++row) good.texts.push_back(read.texts[row]);
  return good;
}

}  // namespace fastroute::text
