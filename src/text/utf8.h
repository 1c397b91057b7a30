// UTF-8, one character at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace fastroute::text {

constexpr char32_t kReplacement = 0xFFFD;

struct Utf8Character {
  char32_t code_point;
  size_t length;  // bytes consumed, at least 1
};

inline bool is_continuation_byte(char c) noexcept { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// First character of a non-empty text. A byte that doesn't begin a well-formed character (Unicode table 3-7: no
// overlong forms, no surrogates, nothing above U+10FFFF) is one kReplacement.
inline Utf8Character decode_utf8(std::string_view s) noexcept {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(s[i])); };
  const auto continues = [&](size_t i) { return i < s.size() && is_continuation_byte(s[i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead >= 0xC2 && lead <= 0xDF && continues(1)) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead >= 0xE0 && lead <= 0xEF && continues(1) && continues(2)) {
    const char32_t c = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    if (c >= 0x800 && (c < 0xD800 || c > 0xDFFF)) return {c, 3};
  }
  if (lead >= 0xF0 && lead <= 0xF4 && continues(1) && continues(2) && continues(3)) {
    const char32_t c = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    if (c >= 0x10000 && c <= 0x10FFFF) return {c, 4};
  }
  return {kReplacement, 1};
}

// Bytes before the first that doesn't begin a well-formed character: the text's size where all do.
inline size_t well_formed_bytes(std::string_view s) noexcept {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  size_t i = 0;
  while (i < s.size()) {
    uint64_t eight = 0;
    if (s.size() - i >= sizeof(eight)) {
      std::memcpy(&eight, s.data() + i, sizeof(eight));
      if ((eight & kHighBits) == 0) {
        i += sizeof(eight);
        continue;
      }
    }
    const auto c = decode_utf8(s.substr(i));
    if (c.code_point == kReplacement && c.length == 1) break;  // U+FFFD itself has three bytes
    i += c.length;
  }
  return i;
}

// Writes a code point other than a surrogate; returns the number of bytes, at most 4.
inline size_t encode_utf8(char32_t c, char* out) noexcept {
  const auto put = [&](size_t i, char32_t bits) { out[i] = static_cast<char>(static_cast<unsigned char>(bits)); };
  if (c < 0x80) {
    put(0, c);
    return 1;
  }
  if (c < 0x800) {
    put(0, 0xC0 | c >> 6);
    put(1, 0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    put(0, 0xE0 | c >> 12);
    put(1, 0x80 | (c >> 6 & 0x3F));
    put(2, 0x80 | (c & 0x3F));
    return 3;
  }
  put(0, 0xF0 | c >> 18);
  put(1, 0x80 | (c >> 12 & 0x3F));
  put(2, 0x80 | (c >> 6 & 0x3F));
  put(3, 0x80 | (c & 0x3F));
  return 4;
}

}  // namespace fastroute::text
