// The decoder against the Unicode standard's table 3-7.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "text/utf8.h"

namespace {

using namespace std::string_view_literals;
using fastroute::text::decode_utf8;
using fastroute::text::encode_utf8;
using fastroute::text::kReplacement;

long long check_round_trip() {
  long long cases = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    char bytes[4] = {};
    const size_t length = encode_utf8(c, bytes);
    const auto found = decode_utf8({bytes, length});
    CHECK(found.code_point == c && found.length == length);
    CHECK(length == (c < 0x80 ? 1U : c < 0x800 ? 2U : c < 0x10000 ? 3U : 4U));
    // Cut anywhere, it is no character.
    for (size_t cut = 1; cut < length; ++cut) {
      const auto part = decode_utf8({bytes, cut});
      CHECK(part.code_point == kReplacement && part.length == 1);
    }
    ++cases;
  }
  return cases;
}

long long check_malformed() {
  const std::vector<std::string_view> malformed = {"\x80"sv,
                                                   "\xBF"sv,
                                                   "\xC0\x80"sv,
                                                   "\xC1\xBF"sv,
                                                   "\xC2"sv,
                                                   "\xC2 "sv,
                                                   "\xC2\xC2"sv,
                                                   "\xDF\x7F"sv,
                                                   "\xE0\x80\x80"sv,
                                                   "\xE0\x9F\xBF"sv,
                                                   "\xE1\x80"sv,
                                                   "\xE1\x80 "sv,
                                                   "\xED\xA0\x80"sv,
                                                   "\xED\xBF\xBF"sv,
                                                   "\xEF\xBF"sv,
                                                   "\xF0\x80\x80\x80"sv,
                                                   "\xF0\x8F\xBF\xBF"sv,
                                                   "\xF0\x90\x80"sv,
                                                   "\xF4\x90\x80\x80"sv,
                                                   "\xF4\xBF\xBF\xBF"sv,
                                                   "\xF5\x80\x80\x80"sv,
                                                   "\xF8\x88\x80\x80\x80"sv,
                                                   "\xFC\x84\x80\x80\x80\x80"sv,
                                                   "\xFE"sv,
                                                   "\xFF"sv};
  for (const auto text : malformed) {
    const auto found = decode_utf8(text);
    CHECK(found.code_point == kReplacement && found.length == 1);
  }
  return static_cast<long long>(malformed.size());
}

// Every sequence of three bytes makes progress and gives a scalar value.
long long check_all_triples() {
  long long cases = 0;
  for (uint32_t bits = 0; bits < 1U << 24; ++bits) {
    const char bytes[3] = {static_cast<char>(bits >> 16), static_cast<char>(bits >> 8), static_cast<char>(bits)};
    const auto found = decode_utf8({bytes, 3});
    const bool surrogate = found.code_point >= 0xD800 && found.code_point <= 0xDFFF;
    if (found.length < 1 || found.length > 3 || surrogate || found.code_point > 0x10FFFF) CHECK(false);
    char again[4] = {};
    const bool same = encode_utf8(found.code_point, again) == found.length &&
                      std::string_view(again, found.length) == std::string_view(bytes, found.length);
    if (found.code_point != kReplacement && !same) CHECK(false);
    ++cases;
  }
  return cases;
}

}  // namespace

int main() { return fastroute::tests::summary("UTF-8", check_round_trip() + check_malformed() + check_all_triples()); }
