// A WordPiece tokeniser whose ids a reader can work out by hand.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/wordpiece.h"

namespace fastroute::tests {

// Ids are positions: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then the pieces.
inline const std::vector<std::string>& tokens() {
  static const std::vector<std::string> all = {
      "[PAD]",      "[UNK]",       "[CLS]",  "[SEP]",    "[MASK]",
      "un",         "##aff",       "##able", "##a",      "want",
      "##ed",       "run",         "##ning", ",",        "[",
      "]",          "a",           "b",      "##b",      "\u4e2d",
      "\u6587",     "\u00df",      "\u1100", "##\u1161", "incomprehensibilities",
      "\U0001d400", "##\U0001d400"};
  return all;
}

inline int32_t id_of(const std::string& token) {
  for (size_t id = 0; id < tokens().size(); ++id) {
    if (tokens()[id] == token) return static_cast<int32_t>(id);
  }
  return -1;
}

inline text::WordPieceOptions options() {
  text::WordPieceOptions result;
  result.unknown_id = 1;
  result.special_tokens = {{"[PAD]", 0}, {"[UNK]", 1}, {"[CLS]", 2}, {"[SEP]", 3}, {"[MASK]", 4}};
  return result;
}

inline std::shared_ptr<const text::WordPiece> tokenizer() {
  return std::make_shared<const text::WordPiece>(tokens(), options());
}

}  // namespace fastroute::tests
