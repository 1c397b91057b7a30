// WordPiece vocabulary: pieces at the start of a word and continuation pieces, each with its id.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fastroute::text {

enum class Position : uint8_t { kWordStart = 0, kContinuation = 1 };

constexpr int32_t kNoToken = -1;

// Immutable once built; any number of threads may look up at once.
class Vocabulary {
 public:
  // Bytes that must be readable after a piece given to find().
  static constexpr size_t kPadding = 16;

  // tokens[id] is the token's text; those that begin with `continuation_prefix` are continuation pieces. Throws
  // InvalidArgument on a token that occurs twice.
  Vocabulary(const std::vector<std::string>& tokens, std::string_view continuation_prefix);

  // Id of a piece (without prefix), or kNoToken. Reads up to kPadding bytes from `piece`, whatever its length.
  int32_t find(const char* piece, size_t length, Position position) const noexcept {
    if (length > sizeof(Key)) return find_long({piece, length}, position);
    const Key key = load_key(piece, length);
    for (size_t slot = slot_of(key, position);; ++slot) {
      const Entry& entry = entries_[slot & mask_];
      if (entry.id == kNoToken) return kNoToken;
      if (entry.key.low == key.low && entry.key.high == key.high && entry.tag == tag_of(length, position)) {
        return entry.id;
      }
    }
  }

  // Length in bytes of the longest piece at that position.
  size_t longest(Position position) const noexcept { return longest_[static_cast<size_t>(position)]; }

  size_t size() const noexcept { return size_; }

 private:
  struct Key {
    uint64_t low = 0;
    uint64_t high = 0;
  };
  struct Entry {
    Key key;
    int32_t id = kNoToken;
    uint32_t tag = 0;
  };
  struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
  };
  using LongPieces = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

  // The first `length` bytes, zeros after them: two overlapping loads and a mask instead of a copy.
  static Key load_key(const char* piece, size_t length) noexcept {
    Key key;
    std::memcpy(&key.low, piece, 8);
    std::memcpy(&key.high, piece + 8, 8);
    key.low &= low_bytes(length < 8 ? length : 8);
    key.high &= low_bytes(length < 8 ? 0 : length - 8);
    return key;
  }
  static uint64_t low_bytes(size_t count) noexcept { return kByteMasks[count]; }
  static constexpr std::array<uint64_t, 9> kByteMasks = {
      0x0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFF, 0xFFFFFFFFFFFF, 0xFFFFFFFFFFFFFF, ~uint64_t{0}};

  // The length is part of the tag: a piece may end in a NUL byte.
  static uint32_t tag_of(size_t length, Position position) noexcept {
    return static_cast<uint32_t>(length << 1) | static_cast<uint32_t>(position);
  }
  size_t slot_of(const Key& key, Position position) const noexcept {
    uint64_t h = (key.low ^ static_cast<uint64_t>(position)) * 0x9E3779B97F4A7C15U;
    h ^= (h >> 32) ^ key.high;
    h *= 0xC2B2AE3D27D4EB4FU;
    return static_cast<size_t>(h >> 40);
  }
  int32_t find_long(std::string_view piece, Position position) const noexcept;
  void insert(std::string_view piece, Position position, int32_t id);

  std::vector<Entry> entries_;
  size_t mask_ = 0;
  std::array<LongPieces, 2> long_pieces_;
  std::array<size_t, 2> longest_ = {0, 0};
  size_t size_ = 0;
};

}  // namespace fastroute::text
