#include <algorithm>

#include "text/unicode_tables.h"

namespace fastroute::text {
namespace {

std::span<const char32_t> find(std::span<const unicode_data::Mapping> mappings, char32_t c) noexcept {
  const auto it = std::ranges::lower_bound(mappings, c, {}, [](const auto& m) { return char32_t{m.from}; });
  if (it == mappings.end() || it->from != c) return {};
  return {unicode_data::kMappedCodePoints + it->offset, it->length};
}

}  // namespace

std::span<const char32_t> decomposition(char32_t c) noexcept {
  return find({unicode_data::kDecompositions, unicode_data::kDecompositionCount}, c);
}

std::span<const char32_t> lowercase(char32_t c) noexcept {
  return find({unicode_data::kLowercase, unicode_data::kLowercaseCount}, c);
}

uint8_t combining_class(char32_t c) noexcept {
  const std::span ranges{unicode_data::kCombiningRanges, unicode_data::kCombiningRangeCount};
  const auto it = std::ranges::lower_bound(ranges, c, {}, [](const auto& r) { return char32_t{r.last}; });
  return it != ranges.end() && it->first <= c ? it->combining_class : uint8_t{0};
}

}  // namespace fastroute::text
