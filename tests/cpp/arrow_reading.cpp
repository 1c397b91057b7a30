// Arrow's string arrays: what is read of sound ones, and what is refused of those that lie.
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "check.h"
#include "runtime/error.h"
#include "text/arrow_strings.h"
#include "text/utf8.h"

namespace {

using namespace fastroute;
using namespace std::string_view_literals;
using text::ArrowLayout;
using text::ArrowStrings;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

ArrowStrings array_of(ArrowLayout layout, size_t length, size_t offset, std::string_view slots,
                      std::vector<std::string_view> data) {
  return {layout, length, offset, {}, slots, std::move(data)};
}

// A view of a text that lies in a buffer, or in the view itself.
std::string view_of(std::string_view text, int32_t buffer, int32_t begin) {
  const auto length = static_cast<int32_t>(text.size());
  std::string view = bytes_of(std::vector<int32_t>{length, 0, buffer, begin});
  text.copy(view.data() + 4, length <= 12 ? 12 : 4);
  return view;
}

// Lies in memory of exactly its size, so that a sanitizer sees a read beyond it.
class Exact {
 public:
  explicit Exact(std::string_view bytes) : bytes_(bytes.begin(), bytes.end()) { bytes_.shrink_to_fit(); }
  operator std::string_view() const { return {bytes_.data(), bytes_.size()}; }  // NOLINT

 private:
  std::vector<char> bytes_;
};

template <class Offset>
long long check_offsets(ArrowLayout layout) {
  const Exact data("onetwo\xC3\xA9"sv);
  const Exact offsets(bytes_of<Offset>({0, 3, 3, 6, 8}));
  const std::vector<std::string_view> expected = {"one", "", "two", "\xC3\xA9"};
  long long cases = 0;
  for (size_t offset = 0; offset <= 4; ++offset) {
    for (size_t length = 0; offset + length <= 4; ++length, ++cases) {
      const auto read = read_arrow(array_of(layout, length, offset, offsets, {data}));
      const auto first = expected.begin() + static_cast<std::ptrdiff_t>(offset);
      CHECK(read.texts == std::vector<std::string_view>(first, first + static_cast<std::ptrdiff_t>(length)));
      CHECK(read.bad.empty());
    }
  }
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  for (const auto& [length, offset] : std::vector<std::pair<size_t, size_t>>{
           {5, 0}, {1, 4}, {4, 1}, {1, 5}, {kMost, 0}, {1, kMost}, {kMost, kMost}, {kMost, 1}, {kMost / 8, 0}}) {
    CHECK_THROWS(read_arrow(array_of(layout, length, offset, offsets, {data})), InvalidArgument);
    ++cases;
  }
  constexpr auto kLargest = std::numeric_limits<Offset>::max();
  constexpr auto kLeast = std::numeric_limits<Offset>::min();
  for (const auto& bad : std::vector<std::vector<Offset>>{{0, 9},
                                                          {-1, 3},
                                                          {3, 2},
                                                          {0, -1},
                                                          {9, 9},
                                                          {kLeast, 0},
                                                          {kLeast, kLargest},
                                                          {0, kLargest},
                                                          {kLargest, kLargest},
                                                          {kLargest, kLeast}}) {
    const Exact lying(bytes_of(bad));
    CHECK_THROWS(read_arrow(array_of(layout, 1, 0, lying, {data})), InvalidArgument);
    ++cases;
  }
  for (size_t size = 0; size < 2 * sizeof(Offset); ++size, ++cases) {
    const Exact cut(std::string(size, '\0'));
    CHECK_THROWS(read_arrow(array_of(layout, 1, 0, cut, {data})), InvalidArgument);
  }
  CHECK(read_arrow(array_of(layout, 0, 7, {}, {{}})).texts.empty());
  const Exact zeros(bytes_of<Offset>({0, 0}));
  CHECK(read_arrow(array_of(layout, 1, 0, zeros, {{}})).texts.front().data() != nullptr);
  CHECK_THROWS(read_arrow(array_of(layout, 1, 0, zeros, {})), InvalidArgument);
  CHECK_THROWS(read_arrow(array_of(layout, 1, 0, zeros, {data, data})), InvalidArgument);
  return cases + 4;
}

long long check_views() {
  const std::string_view long_text = "a text of more than twelve bytes";
  const Exact first("--a text of more than twelve bytes"sv);
  const Exact views(view_of("twelve bytes", 99, -5) + view_of(long_text, 1, 2) + view_of("", 0, 0));
  const auto read = read_arrow(array_of(ArrowLayout::kUtf8View, 3, 0, views, {{}, first}));
  CHECK(read.texts == std::vector<std::string_view>({"twelve bytes", long_text, ""}));
  CHECK(read.bad.empty());
  long long cases = 1;
  constexpr int32_t kLargest = std::numeric_limits<int32_t>::max();
  for (const auto& [length, buffer, begin] : std::vector<std::tuple<int32_t, int32_t, int32_t>>{{-1, 0, 0},
                                                                                                {13, 2, 0},
                                                                                                {13, -1, 0},
                                                                                                {13, 0, 0},
                                                                                                {13, 1, -1},
                                                                                                {13, 1, 22},
                                                                                                {35, 1, 0},
                                                                                                {kLargest, 1, kLargest},
                                                                                                {13, kLargest, 0}}) {
    const Exact view(bytes_of(std::vector<int32_t>{length, 0, buffer, begin}));
    auto lying = array_of(ArrowLayout::kUtf8View, 1, 0, view, {{}, first});
    CHECK_THROWS(read_arrow(lying), InvalidArgument);
    lying.validity = "\0"sv;  // what a null's view says does not matter
    CHECK(read_arrow(lying).bad.size() == 1);
    ++cases;
  }
  for (size_t size = 0; size < 16; ++size, ++cases) {
    const Exact cut(std::string(size, '\0'));
    CHECK_THROWS(read_arrow(array_of(ArrowLayout::kUtf8View, 1, 0, cut, {})), InvalidArgument);
  }
  return cases;
}

long long check_nulls_and_utf8() {
  // Row 1 is null, row 3 and 4 are not UTF-8.
  const Exact data(
      "goodnull\xC3\xA9"
      "a\xC3"
      "\xA9"sv);
  const Exact offsets(bytes_of<int32_t>({0, 4, 8, 10, 12, 13, 13}));
  const Exact validity("\xFD"sv);
  auto array = array_of(ArrowLayout::kUtf8, 5, 0, offsets, {data});
  array.validity = validity;
  const auto read = read_arrow(array);
  CHECK(read.texts == std::vector<std::string_view>({"good", "", "\xC3\xA9", "", ""}));
  CHECK(read.bad.size() == 2 + 1);
  if (read.bad.size() == 3) {
    CHECK(read.bad[0].row == 1 && !read.bad[0].byte);
    CHECK(read.bad[1].row == 3 && read.bad[1].byte == 1U);
    CHECK(read.bad[2].row == 4 && read.bad[2].byte == 0U);
  }
  CHECK(good_texts(read).texts == std::vector<std::string_view>({"good", "\xC3\xA9"}));
  CHECK(good_texts(read).bad.empty());
  const std::vector<int64_t> indices = {4, 0, -1, 1, 2, 0};
  const auto taken = take(read, indices);
  CHECK(taken.texts == std::vector<std::string_view>({"", "good", "", "", "\xC3\xA9", "good"}));
  CHECK(taken.bad.size() == 3);
  if (taken.bad.size() == 3) {
    CHECK(taken.bad[0].row == 0 && taken.bad[0].byte == 0U);
    CHECK(taken.bad[1].row == 2 && !taken.bad[1].byte);
    CHECK(taken.bad[2].row == 3 && !taken.bad[2].byte);
  }
  for (const int64_t index :
       {int64_t{5}, int64_t{-2}, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    CHECK_THROWS(take(read, std::vector<int64_t>{0, index}), InvalidArgument);
  }
  array.offset = 1;
  CHECK(read_arrow(array).bad.front().row == 0);
  array.offset = 4;
  array.length = 2;
  CHECK(read_arrow(array).bad.size() == 1);
  array.validity = ""sv;
  CHECK_THROWS(read_arrow(array), InvalidArgument);
  const Exact many(bytes_of(std::vector<int32_t>(18)));
  auto longer = array_of(ArrowLayout::kUtf8, 8, 0, many, {data});
  longer.validity = "\xFF"sv;
  CHECK(read_arrow(longer).bad.empty());
  longer.length = 9;
  CHECK_THROWS(read_arrow(longer), InvalidArgument);
  longer.length = 8;
  longer.offset = 1;
  CHECK_THROWS(read_arrow(longer), InvalidArgument);
  return 16;
}

// The eight bytes at a time against one at a time.
long long check_well_formed() {
  std::mt19937 random(7);
  constexpr int kTexts = 200000;
  for (int i = 0; i < kTexts; ++i) {
    std::string bytes;
    const auto pieces = random() % 12;
    for (size_t j = 0; j < pieces; ++j) {
      char encoded[4] = {};
      auto c = static_cast<char32_t>(random() % 4 == 0 ? random() % 0x110000 : random() % 0x80);
      if (c >= 0xD800 && c <= 0xDFFF) c = text::kReplacement;
      bytes.append(encoded, text::encode_utf8(c, encoded));
    }
    if (!bytes.empty() && random() % 2 == 0) bytes[random() % bytes.size()] = static_cast<char>(random());
    size_t expected = 0;
    while (expected < bytes.size()) {
      const auto c = text::decode_utf8(std::string_view(bytes).substr(expected));
      if (c.code_point == text::kReplacement && c.length == 1) break;
      expected += c.length;
    }
    const Exact exact(bytes);
    if (text::well_formed_bytes(exact) != expected) CHECK(false);
  }
  return kTexts;
}

// Buffers of noise are read or refused, and nothing else.
long long check_noise() {
  std::mt19937 random(11);
  constexpr int kArrays = 100000;
  for (int i = 0; i < kArrays; ++i) {
    const auto noise = [&](size_t most, unsigned highest) {
      std::string bytes(random() % most, '\0');
      for (size_t at = 0; at < bytes.size(); ++at) {
        // Small numbers in the lowest byte of four or eight, so that some pass.
        if (at % 4 == 0 || random() % 64 == 0) bytes[at] = static_cast<char>(random() % highest);
      }
      return bytes;
    };
    const Exact slots(noise(64, 40));
    const Exact data(noise(40, 256));
    const Exact validity(noise(3, 256));
    const auto layout = static_cast<ArrowLayout>(random() % 3);
    auto array = array_of(layout, random() % 8, random() % 3, slots, {data});
    if (random() % 2 == 0) array.validity = validity;
    try {
      const auto read = read_arrow(array);
      CHECK(read.texts.size() == array.length);
      size_t bytes = 0;
      for (const auto text : read.texts) bytes += text.size() + text::well_formed_bytes(text);
      if (bytes > 2 * array.length * 64) CHECK(false);
    } catch (const InvalidArgument&) {  // refused
    }
  }
  return kArrays;
}

}  // namespace

int main() {
  const long long cases = check_offsets<int32_t>(ArrowLayout::kUtf8) + check_offsets<int64_t>(ArrowLayout::kLargeUtf8) +
                          check_views() + check_nulls_and_utf8() + check_well_formed() + check_noise();
  return fastroute::tests::summary("Arrow strings", cases);
}
