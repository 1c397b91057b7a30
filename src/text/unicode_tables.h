// What BERT's normaliser and pre-tokeniser know about a code point. The data are generated: see
// generate_unicode_tables.py for where they come from and why not from ICU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fastroute::text {

enum Property : uint8_t {
  kControl = 1 << 0,      // dropped by clean_text
  kSpace = 1 << 1,        // separates words
  kCjk = 1 << 2,          // a word of its own
  kPunctuation = 1 << 3,  // a word of its own
  kNonspacing = 1 << 4,   // dropped by strip_accents (general category Mn)
  kDecomposes = 1 << 5,   // has a canonical decomposition in the table (Hangul syllables have theirs by rule)
  kLowercases = 1 << 6,
  kNonStarter = 1 << 7,  // canonical combining class other than 0
};

namespace unicode_data {

struct Mapping {
  uint32_t from;
  uint16_t offset;  // into kMappedCodePoints
  uint8_t length;
};

struct CombiningRange {
  uint32_t first;
  uint32_t last;
  uint8_t combining_class;
};

extern const uint8_t kBlockIndex[];
extern const uint8_t kBlocks[][256];
extern const Mapping kDecompositions[];
extern const size_t kDecompositionCount;
extern const Mapping kLowercase[];
extern const size_t kLowercaseCount;
extern const char32_t kMappedCodePoints[];
extern const CombiningRange kCombiningRanges[];
extern const size_t kCombiningRangeCount;

}  // namespace unicode_data

// Bits of Property for a code point below 0x110000.
inline uint8_t properties(char32_t c) noexcept {
  return unicode_data::kBlocks[unicode_data::kBlockIndex[c >> 8]][c & 0xFF];
}

// Full canonical decomposition of a code point with kDecomposes.
std::span<const char32_t> decomposition(char32_t c) noexcept;

// Lowercase form of a code point with kLowercases: one code point, two for U+0130.
std::span<const char32_t> lowercase(char32_t c) noexcept;

// Canonical combining class; 0 for starters.
uint8_t combining_class(char32_t c) noexcept;

}  // namespace fastroute::text
