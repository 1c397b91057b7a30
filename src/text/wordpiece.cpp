#include "text/wordpiece.h"

#include <algorithm>
#include <utility>

#include "runtime/error.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace fastroute::text {

// One pass over one text.
class WordPieceRun {
 public:
  WordPieceRun(const WordPiece& tokenizer, std::string_view text, size_t max_tokens, Workspace& workspace)
      : tokenizer_(tokenizer), options_(tokenizer.options_), text_(text), max_tokens_(max_tokens), out_(workspace) {
    out_.ids.clear();
    out_.marks.clear();
    // A word is kept up to its longest allowed length; what comes after only counts.
    out_.word.resize(4 * (options_.max_word_chars + 1) + Vocabulary::kPadding);
  }

  void run() {
    const auto* bytes = reinterpret_cast<const unsigned char*>(text_.data());
    size_t i = 0;
    while (i < text_.size() && !full()) {
      switch (tokenizer_.actions_[bytes[i]]) {
        case WordPiece::Action::kAppend:
          settle_marks();
          i = append_ascii(bytes, i);
          break;
        case WordPiece::Action::kSkip:
          ++i;
          break;
        case WordPiece::Action::kSpace:
          end_word();
          ++i;
          break;
        case WordPiece::Action::kPunctuation:
          isolate(char32_t{bytes[i]});
          ++i;
          break;
        case WordPiece::Action::kSpecial:
          i = special_or_character(i);
          break;
        case WordPiece::Action::kWide:
          i = character(i);
          break;
      }
    }
    if (!full()) end_word();
    if (out_.ids.size() > max_tokens_) out_.ids.resize(max_tokens_);
  }

 private:
  bool full() const noexcept { return out_.ids.size() >= max_tokens_; }

  size_t append_ascii(const unsigned char* bytes, size_t i) {
    char* word = out_.word.data();
    const size_t end = text_.size();
    do {
      if (word_chars_ < options_.max_word_chars) word[word_bytes_++] = tokenizer_.folded_[bytes[i]];
      ++word_chars_;
      ++i;
    } while (i < end && tokenizer_.actions_[bytes[i]] == WordPiece::Action::kAppend);
    return i;
  }

  size_t special_or_character(size_t i) {
    const std::string_view rest = text_.substr(i);
    const std::pair<std::string, int32_t>* longest = nullptr;
    for (const auto& special : options_.special_tokens) {
      if (rest.starts_with(special.first) && (longest == nullptr || special.first.size() > longest->first.size())) {
        longest = &special;
      }
    }
    if (longest == nullptr) return character(i);
    end_word();
    out_.ids.push_back(longest->second);
    return i + longest->first.size();
  }

  size_t character(size_t i) {
    const Utf8Character c = decode_utf8(text_.substr(i));
    normalise(c.code_point);
    return i + c.length;
  }

  // The steps of BertNormalizer in its order: clean, isolate ideographs, strip accents, lowercase.
  void normalise(char32_t c) {
    const uint8_t bits = properties(c);
    if (options_.clean_text && (bits & kControl) != 0) return;
    const bool isolated = options_.handle_chinese_chars && (bits & kCjk) != 0;
    if (isolated) end_word();
    if (options_.strip_accents) {
      decompose(c, bits);
    } else {
      fold(c, bits);
    }
    if (isolated) end_word();
  }

  void decompose(char32_t c, uint8_t bits) {
    constexpr char32_t kFirstSyllable = 0xAC00;
    constexpr char32_t kSyllables = 11172;
    if ((bits & kDecomposes) != 0) {
      for (const char32_t part : decomposition(c)) order(part, properties(part));
    } else if (c - kFirstSyllable < kSyllables) {  // Unicode standard, section 3.12
      const char32_t s = c - kFirstSyllable;
      order(0x1100 + s / 588, 0);
      order(0x1161 + s % 588 / 28, 0);
      if (s % 28 != 0) order(0x11A7 + s % 28, 0);
    } else {
      order(c, bits);
    }
  }

  // Canonical ordering: marks wait until the next starter. Dropping the nonspacing ones at once doesn't change the
  // order of the others, but a dropped starter still ends the run.
  void order(char32_t c, uint8_t bits) {
    if ((bits & kNonStarter) == 0) settle_marks();
    if ((bits & kNonspacing) != 0) return;
    if ((bits & kNonStarter) == 0) {
      fold(c, bits);
    } else if (out_.marks.size() <= options_.max_word_chars) {
      const uint8_t combining = combining_class(c);
      const auto after = std::ranges::upper_bound(out_.marks, combining, {}, &Workspace::Mark::combining_class);
      out_.marks.insert(after, {combining, c});
    }
    // More marks than a word may have characters: it is unknown in any order.
  }

  void settle_marks() {
    for (const auto& mark : out_.marks) fold(mark.code_point, properties(mark.code_point));
    out_.marks.clear();
  }

  void fold(char32_t c, uint8_t bits) {
    if (options_.lowercase && (bits & kLowercases) != 0) {
      for (const char32_t lower : lowercase(c)) place(lower, properties(lower));
    } else {
      place(c, bits);
    }
  }

  // A normalised character goes to the pre-tokeniser.
  void place(char32_t c, uint8_t bits) {
    if ((bits & kSpace) != 0) {
      emit_word();
    } else if ((bits & kPunctuation) != 0) {
      emit_word();
      append(c);
      emit_word();
    } else {
      append(c);
    }
  }

  void append(char32_t c) {
    if (word_chars_ < options_.max_word_chars) word_bytes_ += encode_utf8(c, out_.word.data() + word_bytes_);
    ++word_chars_;
  }

  void isolate(char32_t c) {
    end_word();
    append(c);
    emit_word();
  }

  void end_word() {
    settle_marks();
    emit_word();
  }

  void emit_word() {
    if (word_chars_ == 0) return;
    const size_t length = word_bytes_;
    const bool too_long = word_chars_ > options_.max_word_chars;
    word_bytes_ = 0;
    word_chars_ = 0;
    if (too_long) {
      out_.ids.push_back(options_.unknown_id);
      return;
    }
    const int32_t whole = tokenizer_.vocabulary_.find(out_.word.data(), length, Position::kWordStart);
    if (whole != kNoToken) {
      out_.ids.push_back(whole);
    } else {
      emit_pieces(length);
    }
  }

  // Greedy longest match; a word with a part that no piece covers is unknown as a whole.
  void emit_pieces(size_t length) {
    const size_t ids_before = out_.ids.size();
    const char* word = out_.word.data();
    Position position = Position::kWordStart;
    for (size_t start = 0; start < length;) {
      size_t end = std::min(length, start + tokenizer_.vocabulary_.longest(position));
      int32_t id = kNoToken;
      for (; end > start; --end) {
        const bool inside_character = end < length && is_continuation_byte(word[end]);
        if (inside_character) continue;
        id = tokenizer_.vocabulary_.find(word + start, end - start, position);
        if (id != kNoToken) break;
      }
      if (id == kNoToken) {
        out_.ids.resize(ids_before);
        out_.ids.push_back(options_.unknown_id);
        return;
      }
      out_.ids.push_back(id);
      start = end;
      position = Position::kContinuation;
    }
  }

  const WordPiece& tokenizer_;
  const WordPieceOptions& options_;
  const std::string_view text_;
  const size_t max_tokens_;
  Workspace& out_;
  size_t word_bytes_ = 0;
  size_t word_chars_ = 0;
};

WordPiece::WordPiece(const std::vector<std::string>& tokens, WordPieceOptions options)
    : vocabulary_(tokens, options.continuation_prefix), options_(std::move(options)) {
  const auto check_id = [&](const char* what, int32_t id) {
    if (id < 0 || static_cast<size_t>(id) >= tokens.size()) {
      throw InvalidArgument(std::string(what) + ": found id " + std::to_string(id) + ", allowed: 0 to " +
                            std::to_string(tokens.size()) + " - 1");
    }
  };
  check_id("unknown_id", options_.unknown_id);
  if (options_.continuation_prefix.empty()) throw InvalidArgument("continuation_prefix: found an empty string");
  if (options_.max_word_chars < 1 || options_.max_word_chars > 10000) {
    throw InvalidArgument("max_word_chars: found " + std::to_string(options_.max_word_chars) + ", allowed: 1 to 10000");
  }
  for (size_t b = 0; b < 128; ++b) {
    const auto bits = properties(static_cast<char32_t>(b));
    const bool upper = b >= 'A' && b <= 'Z';
    folded_[b] = static_cast<char>(options_.lowercase && upper ? b + ('a' - 'A') : b);
    if (options_.clean_text && (bits & kControl) != 0) {
      actions_[b] = Action::kSkip;
    } else if ((bits & kSpace) != 0) {
      actions_[b] = Action::kSpace;
    } else if ((bits & kPunctuation) != 0) {
      actions_[b] = Action::kPunctuation;
    } else {
      actions_[b] = Action::kAppend;
    }
  }
  std::fill(actions_.begin() + 128, actions_.end(), Action::kWide);
  for (const auto& [text, id] : options_.special_tokens) {
    check_id("special_tokens", id);
    if (text.empty()) throw InvalidArgument("special_tokens: found an empty token");
    actions_[static_cast<unsigned char>(text.front())] = Action::kSpecial;
  }
}

void WordPiece::encode(std::string_view utf8, size_t max_tokens, Workspace& workspace) const {
  WordPieceRun(*this, utf8, max_tokens, workspace).run();
}

}  // namespace fastroute::text
