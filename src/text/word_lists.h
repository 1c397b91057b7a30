// Lists of English words that say what a prompt asks for. They are part of the surface features' definition: a change
// is a new kSurfaceVersion.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fastroute::text {

struct WordList {
  std::string_view name;
  std::string_view words;  // lowercase ASCII letters, separated by single spaces
};

constexpr size_t kWordLists = 8;
extern const std::array<WordList, kWordLists> kWordListTable;

// Immutable; any number of threads may look up at once.
class WordListIndex {
 public:
  // The one index over kWordListTable, built at the first call.
  static const WordListIndex& get();

  static constexpr size_t kLongestWord = 16;

  // Bit i is set where list i holds the word, which is ASCII letters of either case, at most kLongestWord of them.
  // Reads kLongestWord bytes, whatever the word's length.
  uint8_t lists_of(const char* word, size_t length) const noexcept;

 private:
  WordListIndex();

  static constexpr size_t kSlots = 1024;  // for some 500 words; the first array alone answers most questions
  std::array<uint8_t, kSlots> lists_;     // 0: an empty slot
  std::array<uint64_t, kSlots> low_;
  std::array<uint64_t, kSlots> high_;
};

}  // namespace fastroute::text
