// WordPiece on a vocabulary small enough to check by hand, on hostile bytes, and on texts that punish anything slower
// than linear. Equality with the `tokenizers` wheel is tested from Python.
#include <algorithm>
#include <ctime>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "runtime/error.h"
#include "small_vocabulary.h"

namespace {

using namespace fastroute::tests;
using fastroute::text::WordPiece;
using fastroute::text::Workspace;
using Ids = std::vector<int32_t>;

constexpr size_t kAll = std::numeric_limits<size_t>::max();

Ids encode(const WordPiece& tokenizer, std::string_view text, size_t max_tokens = kAll) {
  Workspace workspace;
  tokenizer.encode(text, max_tokens, workspace);
  return workspace.ids;
}

Ids ids(const std::vector<std::string>& pieces) {
  Ids result;
  for (const auto& piece : pieces) result.push_back(id_of(piece));
  return result;
}

std::string repeated(std::string_view part, size_t bytes) {
  std::string text;
  while (text.size() + part.size() <= bytes) text += part;
  return text;
}

std::vector<std::string> longest_word() {
  std::vector<std::string> pieces = {"\U0001d400"};
  pieces.insert(pieces.end(), 99, "##\U0001d400");
  return pieces;
}

long long check_by_hand() {
  using namespace std::string_literals;
  struct Case {
    std::string text;
    std::vector<std::string> pieces;
  };
  const std::vector<Case> cases = {
      {"", {}},
      {" \t\r\n\u00a0\u3000", {}},
      {"unaffable", {"un", "##aff", "##able"}},
      {"UNAFFABLE", {"un", "##aff", "##able"}},
      {"un\u0301affa\u0300ble", {"un", "##aff", "##able"}},
      {"want, wanted", {"want", ",", "want", "##ed"}},
      {"running wantz", {"run", "##ning", "[UNK]"}},
      {"un\0aff\x01"s
       "able",
       {"un", "##aff", "##able"}},
      {"a\u4e2d\u6587b", {"a", "\u4e2d", "\u6587", "b"}},
      {"[MASK]a[mask]", {"[MASK]", "a", "[", "[UNK]", "]"}},
      {"a[SEP]b", {"a", "[SEP]", "b"}},
      {"[SEP", {"[", "[UNK]"}},
      {"[[CLS]]", {"[", "[CLS]", "]"}},
      {"\u00df", {"\u00df"}},
      {"\uac00", {"\u1100", "##\u1161"}},
      {"\u0301\u0301", {}},
      {"incomprehensibilities", {"incomprehensibilities"}},
      {"incomprehensibilitie", {"[UNK]"}},
      {"a" + std::string(98, 'b') + "b",
       [] {
         std::vector<std::string> pieces = {"a"};
         pieces.insert(pieces.end(), 99, "##b");
         return pieces;
       }()},
      {"a" + std::string(100, 'b'), {"[UNK]"}},
      {repeated("\U0001d400", 400), longest_word()},  // four bytes a character: the last piece ends the buffer
      {"a\xff"
       "b",
       {"a", "##b"}},  // not UTF-8: U+FFFD, which is cleaned away
      {"a\xed\xa0\x80"
       "b",
       {"a", "##b"}},              // a surrogate
      {"a\xe4\xb8", {"a"}},        // an ideograph cut short
      {"a\u00adb", {"a", "##b"}},  // a format character
      {"a\u200bb", {"a", "##b"}},
  };
  const auto small = tokenizer();
  for (const auto& [text, pieces] : cases) {
    if (encode(*small, text) != ids(pieces)) std::fprintf(stderr, "text: %s\n", text.c_str());
    CHECK(encode(*small, text) == ids(pieces));
  }
  return static_cast<long long>(cases.size());
}

long long check_max_tokens() {
  const auto small = tokenizer();
  const std::string_view text = "unaffable want, [MASK] wantz running \u4e2d\u6587";
  const Ids all = encode(*small, text);
  CHECK(all.size() == 11);
  for (size_t limit = 0; limit <= all.size() + 2; ++limit) {
    Ids prefix = all;
    prefix.resize(std::min(limit, all.size()));
    CHECK(encode(*small, text, limit) == prefix);
  }
  return 1;
}

// Whatever the bytes: no crash, ids of the vocabulary, truncation gives a prefix, a used Workspace changes nothing.
long long check_random_bytes() {
  constexpr int kTexts = 100000;
  const auto small = tokenizer();
  std::mt19937 random(11);
  Workspace used;
  const std::string_view parts[] = {"[MASK]", "[", "un", "aff", "\u0301", "\u302e", "\u4e2d", "\uac00", "\xf0", " "};
  for (int i = 0; i < kTexts; ++i) {
    std::string text;
    for (size_t n = random() % 30; n > 0; --n) {
      if (random() % 2 == 0) {
        text += parts[random() % std::size(parts)];
      } else {
        text += static_cast<char>(static_cast<unsigned char>(random()));
      }
    }
    const Ids all = encode(*small, text);
    CHECK(std::ranges::all_of(all, [](int32_t id) { return id >= 0 && id < static_cast<int32_t>(tokens().size()); }));
    const size_t limit = random() % 8;
    small->encode(text, limit, used);
    CHECK(used.ids == Ids(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(limit, all.size()))));
  }
  return kTexts;
}

double seconds(const WordPiece& tokenizer, std::string_view text) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    Workspace workspace;
    const std::clock_t start = std::clock();
    tokenizer.encode(text, kAll, workspace);
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

long long check_linear_time() {
#ifdef SANITIZED
  constexpr size_t kBytes = 1 << 20;
#else
  constexpr size_t kBytes = 10 << 20;
#endif
  constexpr double kGrowth = 12;  // four times the text; sixteen would be quadratic
  const auto small = tokenizer();
  const std::string_view kinds[] = {"a",
                                    "\u302e",
                                    "\u0301",
                                    "\u4e2d",
                                    "[",
                                    "[MASK",
                                    "[MASK]",
                                    "a\u302e",
                                    "\u302e\u0301",
                                    "\uac00",
                                    "ab ",
                                    "\u0345\u0301",
                                    "\U0001d16d\U0001d165",
                                    "\x80",
                                    "\xf0\x90\x80",
                                    "\x01",
                                    "\u1e9b\u0323"};
  for (const auto kind : kinds) {
    const std::string text = repeated(kind, kBytes);
    const double quarter = seconds(*small, std::string_view(text).substr(0, kBytes / 4));
    const double whole = seconds(*small, text);
    CHECK(whole < kGrowth * quarter + 0.02);
    if (whole >= kGrowth * quarter + 0.02) std::fprintf(stderr, "%s: %.3f s, %.3f s\n", kind.data(), quarter, whole);
  }
  return static_cast<long long>(std::size(kinds));
}

long long check_arguments() {
  using fastroute::InvalidArgument;
  auto bad = options();
  bad.unknown_id = static_cast<int32_t>(tokens().size());
  CHECK_THROWS(WordPiece(tokens(), bad), InvalidArgument);
  bad.unknown_id = -1;
  CHECK_THROWS(WordPiece(tokens(), bad), InvalidArgument);
  bad = options();
  bad.max_word_chars = 0;
  CHECK_THROWS(WordPiece(tokens(), bad), InvalidArgument);
  bad = options();
  bad.max_word_chars = 10001;
  CHECK_THROWS(WordPiece(tokens(), bad), InvalidArgument);
  bad = options();
  bad.continuation_prefix.clear();
  CHECK_THROWS(WordPiece(tokens(), bad), InvalidArgument);
  bad = options();
  bad.special_tokens.emplace_back("", 0);
  CHECK_THROWS(WordPiece(tokens(), bad), InvalidArgument);
  bad = options();
  bad.special_tokens.emplace_back("[X]", 1000);
  CHECK_THROWS(WordPiece(tokens(), bad), InvalidArgument);
  auto twice = tokens();
  twice.push_back("want");
  CHECK_THROWS(WordPiece(twice, options()), InvalidArgument);
  twice = tokens();
  twice.push_back("incomprehensibilities");
  CHECK_THROWS(WordPiece(twice, options()), InvalidArgument);
  CHECK_THROWS(WordPiece({}, options()), InvalidArgument);
  return 10;
}

}  // namespace

int main() {
  return summary("WordPiece",
                 check_by_hand() + check_max_tokens() + check_random_bytes() + check_linear_time() + check_arguments());
}
