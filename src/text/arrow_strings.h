// Arrow's arrays of strings, read in place: the layouts Utf8, LargeUtf8 and Utf8View of its columnar format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace fastroute::text {

enum class ArrowLayout : uint8_t { kUtf8, kLargeUtf8, kUtf8View };

// The buffers of an array as they were given: nothing in them is believed. Their bytes must outlive what is read.
struct ArrowStrings {
  ArrowLayout layout = ArrowLayout::kUtf8;
  size_t length = 0;                         // rows
  size_t offset = 0;                         // slots of the buffers before the first row
  std::optional<std::string_view> validity;  // a bit for each slot, 0 for a null; none where there are no nulls
  std::string_view slots;                    // offsets, or views
  std::vector<std::string_view> data;        // what they point into: one buffer, of Utf8View any number
};

// A row that is no text.
struct NoText {
  size_t row;
  std::optional<size_t> byte;  // the first that is not UTF-8, from 0; none for a null
};

struct ArrowTexts {
  std::vector<std::string_view> texts;  // one for each row, empty for those that are none
  std::vector<NoText> bad;              // ascending
};

// Reads every row, on up to num_threads() threads. Throws InvalidArgument that names the buffer, and the row where
// there is one: a buffer is too short, offsets fall, or a string lies outside its buffer. UTF-8 is as decode_utf8 takes
// it.
ArrowTexts read_arrow(const ArrowStrings& array);

// Rows of a dictionary: indices into `values`, -1 for a null. Throws InvalidArgument that names the first row with
// another one.
ArrowTexts take(const ArrowTexts& values, std::span<const int64_t> indices);

// The rows that are texts.
ArrowTexts good_texts(const ArrowTexts& read);

}  // namespace fastroute::text
