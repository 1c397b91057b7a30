// BERT's tokeniser: normalisation over all of Unicode, words, greedy longest-match WordPiece. Its ids equal those of
// the `tokenizers` wheel with BertNormalizer, BertPreTokenizer and WordPiece, special tokens in the text included.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace fastroute::text {

struct WordPieceOptions {
  bool clean_text = true;            // drop NUL, U+FFFD and control characters
  bool handle_chinese_chars = true;  // each CJK ideograph is a word
  bool strip_accents = true;         // canonical decomposition, then nonspacing marks are dropped
  bool lowercase = true;
  size_t max_word_chars = 100;  // a longer word is unknown
  int32_t unknown_id = 0;
  std::string continuation_prefix = "##";
  std::vector<std::pair<std::string, int32_t>> special_tokens;  // found verbatim, before normalisation
};

// What one thread needs to encode; keep it between calls to save allocations.
struct Workspace {
  struct Mark {
    uint8_t combining_class;
    char32_t code_point;
  };
  std::vector<int32_t> ids;  // the result
  std::vector<char> word;    // the word so far, normalised, as UTF-8, with room to spare
  std::vector<Mark> marks;   // combining marks that wait for the next starter, in canonical order
};

// Immutable once built; any number of threads may encode at once, each with its own Workspace.
class WordPiece {
 public:
  // Throws InvalidArgument where an id is outside the vocabulary, a token occurs twice or a special token is empty.
  WordPiece(const std::vector<std::string>& tokens, WordPieceOptions options);

  // Writes the ids of the first `max_tokens` tokens to workspace.ids. Linear in the length of the text; stops reading
  // once it has enough. Bytes that are not UTF-8 count as U+FFFD.
  void encode(std::string_view utf8, size_t max_tokens, Workspace& workspace) const;

  size_t vocabulary_size() const noexcept { return vocabulary_.size(); }

 private:
  friend class WordPieceRun;
  enum class Action : uint8_t { kAppend, kSkip, kSpace, kPunctuation, kSpecial, kWide };

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  std::array<Action, 256> actions_;  // what to do at a byte
  std::array<char, 128> folded_;     // ASCII, lowercased where asked for
};

}  // namespace fastroute::text
