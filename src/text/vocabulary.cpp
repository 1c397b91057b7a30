#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "runtime/error.h"

namespace fastroute::text {

Vocabulary::Vocabulary(const std::vector<std::string>& tokens, std::string_view continuation_prefix)
    : size_(tokens.size()) {
  if (tokens.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw InvalidArgument("vocabulary: found " + std::to_string(tokens.size()) + " tokens, allowed: 2147483647");
  }
  entries_.resize(std::bit_ceil(2 * tokens.size() + 2));  // half empty at least, so probes are short and end
  mask_ = entries_.size() - 1;
  for (size_t id = 0; id < tokens.size(); ++id) {
    std::string_view piece = tokens[id];
    const bool continues = !continuation_prefix.empty() && piece.starts_with(continuation_prefix);
    if (continues) piece.remove_prefix(continuation_prefix.size());
    insert(piece, continues ? Position::kContinuation : Position::kWordStart, static_cast<int32_t>(id));
  }
}

void Vocabulary::insert(std::string_view piece, Position position, int32_t id) {
  size_t& longest = longest_[static_cast<size_t>(position)];
  longest = std::max(longest, piece.size());
  if (piece.size() > sizeof(Key)) {
    if (!long_pieces_[static_cast<size_t>(position)].try_emplace(std::string(piece), id).second) {
      throw InvalidArgument("vocabulary: token " + std::to_string(id) + " occurs twice: '" + std::string(piece) + "'");
    }
    return;
  }
  char padded[kPadding] = {};
  std::copy(piece.begin(), piece.end(), padded);
  if (find(padded, piece.size(), position) != kNoToken) {
    throw InvalidArgument("vocabulary: token " + std::to_string(id) + " occurs twice: '" + std::string(piece) + "'");
  }
  const Key key = load_key(padded, piece.size());
  size_t slot = slot_of(key, position) & mask_;
  while (entries_[slot].id != kNoToken) slot = (slot + 1) & mask_;
  entries_[slot] = {key, id, tag_of(piece.size(), position)};
}

int32_t Vocabulary::find_long(std::string_view piece, Position position) const noexcept {
  const LongPieces& pieces = long_pieces_[static_cast<size_t>(position)];
  const auto it = pieces.find(piece);
  return it == pieces.end() ? kNoToken : it->second;
}

}  // namespace fastroute::text
