// Surface features of texts whose answers a reader can work out by hand, and of every text at every place in a block.
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "text/surface_features.h"
#include "text/word_lists.h"

namespace {

using namespace fastroute::text;
using namespace fastroute::tests;

size_t index_of(std::string_view name) {
  for (size_t j = 0; j < kSurfaceFeatures; ++j) {
    if (kSurfaceNames[j] == name) return j;
  }
  CHECK(false);
  return 0;
}

// Reads a copy of exactly the text's size, so that a read past its end shows under the address sanitizer.
std::vector<float> features(std::string_view text) {
  const auto copy = std::make_unique<char[]>(text.size());
  if (!text.empty()) std::memcpy(copy.get(), text.data(), text.size());
  std::vector<float> out(kSurfaceFeatures);
  surface_features({copy.get(), text.size()}, out.data());
  for (const float x : out) CHECK(std::isfinite(x));
  return out;
}

long long cases = 0;

void expect(std::string_view text, std::string_view name, double value) {
  ++cases;
  const double found = static_cast<double>(features(text)[index_of(name)]);
  const double wanted = name.starts_with("log_") ? std::log1p(value) : value;
  if (std::abs(found - wanted) > 1e-5 * (1 + std::abs(wanted))) {
    std::fprintf(stderr, "%s of \"%.60s\": found %g, expected %g\n", std::string(name).c_str(),
                 std::string(text).c_str(), found, wanted);
    CHECK(false);
  }
}

void by_hand() {
  for (const std::string_view name : kSurfaceNames) expect("", name, 0);
  expect("two words", "log_characters", 9);
  expect("two words", "log_words", 2);
  expect(" two\t\n words ", "log_words", 2);
  expect("two words", "characters_per_word", 4.5);
  expect("\xC3\xA9t\xC3\xA9", "log_characters", 3);
  expect("\xC3\xA9t\xC3\xA9", "non_ascii_share", 2.0 / 3);
  expect("1,234.5 and 7. 3.1.4", "log_numbers", 3);
  expect("1,234.5 and 7.", "log_largest_number", 1234.5);
  expect("3.1.4", "log_largest_number", 3.1);
  expect("99999999999999999999999", "log_largest_number", 1e12);
  expect("a1b22", "digit_share", 0.6);
  expect("aBCd", "capital_share", 0.5);
  expect("what? why??", "log_question_marks", 3);
  expect("what? why? ", "ends_with_question", 1);
  expect("what? why", "ends_with_question", 0);
  expect("a\nb\n\n", "newlines", 3);
  expect(std::string(100, '\n'), "newlines", 30);
  expect("f(x) = 2 * x^2", "log_math_symbols", 5);
  expect("$a_{1}$ \\", "log_tex_symbols", 6);
  expect("```a;b;``` `x`", "log_code_marks", 4);
  expect("Q\nA. x\nB. y", "has_options", 1);
  expect("Q\n(A) x\n (B) y\n\tC: z", "options", 3);
  expect("Q\nA. x\nC. y", "options", 0);
  expect("Q\nA.x\nB.y", "options", 0);
  expect("A. x\nB. y", "log_before_options", 0);
  expect("\xC3\xA9\xC3\xA9\nA. x\nB. y", "log_before_options", 3);
  expect("\xC3\xA9\xC3\xA9\nA. x\nB. y", "log_after_options", 9);
  expect("no options", "log_before_options", 10);
  expect("One. Two. 3.5", "log_full_stops", 3);
  expect("How many apples? HOW MUCH!", "log_quantity_words", 4);
  expect("Write a poem", "log_writing_words", 2);
  expect("don't, never", "log_negations", 2);
  expect("def f(): return", "log_programming_words", 2);
  expect("prove the theorem", "log_mathematical_words", 2);
  expect("explain why", "log_explanation_words", 2);
  expect("summarize the text", "log_extraction_words", 2);
  expect("if that", "log_conditionals", 2);
  expect("howmany whyy explainexplainexplain", "log_explanation_words", 0);
  expect("5%", "has_percent", 1);
  expect("say \"x\"", "has_quotation", 1);
  expect("say \xE2\x80\x9Cx", "has_quotation", 1);
  expect("say \xE2\x80\x99x", "has_quotation", 0);
}

// What a text holds doesn't depend on where a block of 64 bytes ends.
void across_blocks() {
  const std::string text = "How many, (x) 1,234.5 \xC3\xA9 ```code``` \nA. explain \xE2\x80\x9Cit\xE2\x80\x9D\nB. 50%?";
  const auto alone = features(text);
  for (size_t shift = 1; shift < 200; ++shift) {
    const auto shifted = features(std::string(shift, '\n') + text);
    for (const char* name :
         {"log_words", "log_numbers", "log_largest_number", "log_math_symbols", "log_code_marks", "has_options",
          "options", "log_after_options", "log_full_stops", "log_quantity_words", "log_explanation_words",
          "log_programming_words", "has_percent", "has_quotation", "ends_with_question"}) {
      ++cases;
      CHECK(alone[index_of(name)] == shifted[index_of(name)]);
    }
  }
}

void any_bytes() {
  uint64_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int n = i % 300; n > 0; --n) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      text.push_back(static_cast<char>(state >> 56));
    }
    static_cast<void>(features(text));
    ++cases;
  }
}

void every_listed_word_is_found() {
  for (size_t list = 0; list < kWordLists; ++list) {
    std::string_view rest = kWordListTable[list].words;
    while (!rest.empty()) {
      const size_t length = std::min(rest.find(' '), rest.size());
      CHECK(length >= 1 && length <= WordListIndex::kLongestWord);
      char word[WordListIndex::kLongestWord] = {};
      for (size_t i = 0; i < length; ++i) word[i] = static_cast<char>(rest[i] - (i == 0 ? 'a' - 'A' : 0));
      CHECK((WordListIndex::get().lists_of(word, length) >> list & 1) == 1);
      ++cases;
      rest.remove_prefix(std::min(length + 1, rest.size()));
    }
  }
}

}  // namespace

int main() {
  by_hand();
  across_blocks();
  any_bytes();
  every_listed_word_is_found();
  return summary("surface features", cases);
}
