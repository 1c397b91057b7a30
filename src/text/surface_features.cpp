#include "text/surface_features.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "runtime/simd.h"
#include "text/word_lists.h"

namespace fastroute::text {

const std::array<std::string_view, kSurfaceFeatures> kSurfaceNames = {"log_characters",
                                                                      "log_words",
                                                                      "characters_per_word",
                                                                      "log_numbers",
                                                                      "digit_share",
                                                                      "log_largest_number",
                                                                      "capital_share",
                                                                      "log_question_marks",
                                                                      "newlines",
                                                                      "log_math_symbols",
                                                                      "log_tex_symbols",
                                                                      "log_code_marks",
                                                                      "has_options",
                                                                      "options",
                                                                      "log_before_options",
                                                                      "log_after_options",
                                                                      "non_ascii_share",
                                                                      "log_full_stops",
                                                                      "log_quantity_words",
                                                                      "log_writing_words",
                                                                      "log_negations",
                                                                      "log_programming_words",
                                                                      "log_mathematical_words",
                                                                      "log_explanation_words",
                                                                      "log_extraction_words",
                                                                      "log_conditionals",
                                                                      "ends_with_question",
                                                                      "has_percent",
                                                                      "has_quotation"};

namespace {

// ln(x) for finite x >= 1 from basic operations alone, so that no library's rounding shows: with x = m 2^k and
// t = (m - 1) / (m + 1), ln m = 2 (t + t^3 / 3 + ...); |t| < .172, and terms after t^21 are below 2^-54.
constexpr double natural_log(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  auto exponent = static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFU) | 0x3FF0000000000000U);
  if (m > 1.4142135623730951) {
    m /= 2;
    ++exponent;
  }
  const double t = (m - 1) / (m + 1);
  const double square = t * t;
  double sum = 0;
  for (int power = 21; power >= 1; power -= 2) sum = sum * square + 1.0 / power;
  return 2 * t * sum + static_cast<double>(exponent) * 0.69314718055994530942;
}

constexpr size_t kTabled = 512;

constexpr std::array<float, kTabled> make_logs() {
  std::array<float, kTabled> logs{};
  for (size_t n = 0; n < kTabled; ++n) logs[n] = static_cast<float>(natural_log(1.0 + static_cast<double>(n)));
  return logs;
}

constexpr std::array<float, kTabled> kLogs = make_logs();

float log_of(size_t count) noexcept {
  return count < kTabled ? kLogs[count] : static_cast<float>(natural_log(1.0 + static_cast<double>(count)));
}

constexpr double kLargest = 1e12;  // larger numbers count as this
constexpr size_t kMostNewlines = 30;

size_t ones(uint64_t mask) noexcept { return static_cast<size_t>(std::popcount(mask)); }

// Calls body(position) for each bit that is set, lowest first.
template <class Body>
void for_bits(uint64_t mask, const Body& body) {
  for (; mask != 0; mask &= mask - 1) body(static_cast<size_t>(std::countr_zero(mask)));
}

// One pass over one text, a block at a time: masks say where each kind of byte is, and only words, numbers and lines
// are looked at one by one.
class SurfaceRun {
 public:
  explicit SurfaceRun(std::string_view text) noexcept : text_(text) {}

  void run(float* out) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(text_.data());
    const auto& kernels = active_kernels();
    option_at(0, 0);
    for (size_t at = 0; at < text_.size(); at += kernels::kTextBlock) {
      const size_t n = std::min(kernels::kTextBlock, text_.size() - at);
      uint64_t masks[kernels::kTextClasses];
      kernels.classify_text(bytes + at, n, masks);
      block(at, n, masks);
    }
    if (word_open_) word(word_begin_, text_.size());
    write(out);
  }

 private:
  unsigned char byte(size_t i) const noexcept { return static_cast<unsigned char>(text_[i]); }
  bool is_digit(size_t i) const noexcept { return i < text_.size() && byte(i) >= '0' && byte(i) <= '9'; }

  void block(size_t at, size_t n, const uint64_t* masks) noexcept {
    using namespace kernels;
    const uint64_t valid = n < kTextBlock ? (uint64_t{1} << n) - 1 : ~uint64_t{0};
    const uint64_t dark = valid & ~masks[kSpace];
    words_ += ones(dark & ~(dark << 1 | (in_word_ ? 1U : 0U)));
    in_word_ = dark >> (n - 1) & 1U;
    capitals_ += ones(masks[kCapital]);
    digits_ += ones(masks[kDigit]);
    wide_ += ones(masks[kLead]);
    newlines_ += ones(masks[kNewline]);
    question_marks_ += ones(masks[kQuestionMark]);
    math_symbols_ += ones(masks[kMathSymbol]);
    tex_symbols_ += ones(masks[kTexSymbol]);
    semicolons_ += ones(masks[kSemicolon]);
    full_stops_ += ones(masks[kFullStop]);
    has_percent_ = has_percent_ || masks[kPercent] != 0;
    has_quotation_ = has_quotation_ || masks[kQuotationMark] != 0;
    for_bits(masks[kByteE2], [&](size_t i) { has_quotation_ = has_quotation_ || is_curly_quote(at + i); });
    letters(at, n, masks[kLetter]);
    for_bits(masks[kDigit], [&](size_t i) {
      if (at + i >= number_end_) number(at + i);
    });
    for_bits(masks[kBacktick], [&](size_t i) {
      if (at + i >= fence_end_) fence(at + i);
    });
    const uint64_t continuation = masks[kContinuation];
    for_bits(masks[kNewline],
             [&](size_t i) { option_at(at + i + 1, continuations_ + ones(continuation & ((uint64_t{1} << i) - 1))); });
    continuations_ += ones(continuation);
  }

  // Words of the word lists: runs of letters. One may have begun in an earlier block.
  void letters(size_t at, size_t n, uint64_t letter) noexcept {
    const uint64_t before = letter << 1 | (word_open_ ? 1U : 0U);
    uint64_t begins = letter & ~before;
    uint64_t ends = before & ~letter;  // one past the last letter
    while (ends != 0) {
      const auto end = static_cast<size_t>(std::countr_zero(ends));
      ends &= ends - 1;
      if (end >= n) break;  // past the end of the text; run() closes it
      if (!word_open_) {
        word_begin_ = at + static_cast<size_t>(std::countr_zero(begins));
        begins &= begins - 1;
      }
      word(word_begin_, at + end);
      word_open_ = false;
    }
    if (begins != 0) {
      word_begin_ = at + static_cast<size_t>(std::countr_zero(begins));
      word_open_ = true;
    }
  }

  void word(size_t begin, size_t end) noexcept {
    constexpr size_t kLongest = WordListIndex::kLongestWord;
    if (end - begin > kLongest) return;
    const char* letters = text_.data() + begin;
    char padded[kLongest] = {};
    if (begin + kLongest > text_.size()) {
      std::copy(letters, text_.data() + end, padded);
      letters = padded;
    }
    for (unsigned lists = index_.lists_of(letters, end - begin); lists != 0; lists &= lists - 1) {
      ++listed_[static_cast<size_t>(std::countr_zero(lists))];
    }
  }

  // Digits with single commas or full stops between them. Commas are dropped, the first full stop begins a fraction, a
  // second one ends what counts.
  void number(size_t i) noexcept {
    double value = 0;
    double unit = 1;
    size_t stops = 0;
    for (;;) {
      do {
        const auto digit = static_cast<double>(byte(i) - '0');
        if (stops == 0) {
          value = std::min(value * 10 + digit, kLargest);
        } else if (stops == 1) {
          unit /= 10;
          value += digit * unit;
        }
        ++i;
      } while (is_digit(i));
      const bool joined = i < text_.size() && (byte(i) == ',' || byte(i) == '.') && is_digit(i + 1);
      if (!joined) break;
      if (byte(i) == '.') ++stops;
      ++i;
    }
    number_end_ = i;
    ++numbers_;
    largest_ = std::max(largest_, std::min(value, kLargest));
  }

  void fence(size_t i) noexcept {
    size_t end = i;
    while (end < text_.size() && byte(end) == '`') ++end;
    fences_ += (end - i) / 3;
    fence_end_ = end;
  }

  // Whether an option such as "A. ", "(B) " or "C: " begins the line at `i`, with the letter that is next;
  // `continuations` of the bytes before the line are not characters.
  void option_at(size_t i, size_t continuations) noexcept {
    while (i < text_.size() && (byte(i) == ' ' || byte(i) == '\t')) ++i;
    if (i < text_.size() && byte(i) == '(') ++i;
    if (i + 2 >= text_.size() || options_ >= 26 || byte(i) != 'A' + options_) return;
    const unsigned char closing = byte(i + 1);
    if (closing != '.' && closing != ')' && closing != ':') return;
    if (byte(i + 2) != ' ' && byte(i + 2) != '\t') return;
    if (options_ == 0) first_option_ = i - continuations;
    ++options_;
  }

  bool is_curly_quote(size_t i) const noexcept {
    return i + 2 < text_.size() && byte(i) == 0xE2 && byte(i + 1) == 0x80 &&
           (byte(i + 2) == 0x9C || byte(i + 2) == 0x9D);
  }

  static bool is_space(unsigned char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

  bool ends_with_question() const noexcept {
    size_t end = text_.size();
    while (end > 0 && is_space(byte(end - 1))) --end;
    return end > 0 && byte(end - 1) == '?';
  }

  void write(float* out) const noexcept {
    const size_t characters = text_.size() - continuations_;
    const auto share = [&](size_t count) {
      return static_cast<float>(static_cast<double>(count) / static_cast<double>(std::max<size_t>(characters, 1)));
    };
    const bool has_options = options_ >= 2;
    const size_t before = has_options ? first_option_ : characters;
    const std::array<float, kSurfaceFeatures> values = {
        log_of(characters),
        log_of(words_),
        static_cast<float>(static_cast<double>(characters) / static_cast<double>(std::max<size_t>(words_, 1))),
        log_of(numbers_),
        share(digits_),
        static_cast<float>(natural_log(1.0 + largest_)),
        share(capitals_),
        log_of(question_marks_),
        static_cast<float>(std::min(newlines_, kMostNewlines)),
        log_of(math_symbols_),
        log_of(tex_symbols_),
        log_of(fences_ + semicolons_),
        has_options ? 1.0F : 0.0F,
        has_options ? static_cast<float>(options_) : 0.0F,
        log_of(before),
        log_of(characters - before),
        share(wide_),
        log_of(full_stops_),
        log_of(listed_[0]),
        log_of(listed_[1]),
        log_of(listed_[2]),
        log_of(listed_[3]),
        log_of(listed_[4]),
        log_of(listed_[5]),
        log_of(listed_[6]),
        log_of(listed_[7]),
        ends_with_question() ? 1.0F : 0.0F,
        has_percent_ ? 1.0F : 0.0F,
        has_quotation_ ? 1.0F : 0.0F,
    };
    std::ranges::copy(values, out);
  }

  const std::string_view text_;
  const WordListIndex& index_ = WordListIndex::get();
  bool in_word_ = false;
  bool word_open_ = false;  // a run of letters goes on in the next block
  bool has_percent_ = false;
  bool has_quotation_ = false;
  size_t word_begin_ = 0;
  size_t number_end_ = 0;
  size_t fence_end_ = 0;
  size_t words_ = 0;
  size_t numbers_ = 0;
  size_t digits_ = 0;
  size_t capitals_ = 0;
  size_t newlines_ = 0;
  size_t fences_ = 0;
  size_t wide_ = 0;
  size_t continuations_ = 0;
  size_t question_marks_ = 0;
  size_t math_symbols_ = 0;
  size_t tex_symbols_ = 0;
  size_t semicolons_ = 0;
  size_t full_stops_ = 0;
  size_t options_ = 0;
  size_t first_option_ = 0;  // characters before it
  double largest_ = 0;
  std::array<size_t, kWordLists> listed_{};
};

}  // namespace

void surface_features(std::string_view utf8, float* out) { SurfaceRun(utf8).run(out); }

}  // namespace fastroute::text
