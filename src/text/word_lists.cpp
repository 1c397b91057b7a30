#include "text/word_lists.h"

#include <algorithm>
#include <cstring>

namespace fastroute::text {

const std::array<WordList, kWordLists> kWordListTable = {{
    {"quantity",
     "how many much total totals each every per percent half twice thrice double triple times more less fewer than "
     "left "
     "remaining remain altogether combined sum difference average cost costs price prices pay pays paid spend spends "
     "spent dollar dollars cent cents hour hours minute minutes day days week weeks year years mile miles number "
     "amount "
     "old older younger earn earns bought buy buys sold sell sells"},
    {"writing",
     "write compose draft story stories poem poems essay email letter blog post rewrite rephrase revise edit imagine "
     "pretend act roleplay role play character characters persona song lyrics creative tone style speech tweet slogan "
     "dialogue scene article headline pitch haiku sonnet novel plot narrative fictional joke jokes tell describe"},
    {"negation",
     "not no never except cannot without neither nor none nothing nobody don doesn didn isn aren wasn weren won wouldn "
     "couldn shouldn false incorrect least unlikely"},
    {"programming",
     "code function functions def return returns python java javascript typescript sql html css class classes import "
     "print array arrays string strings list lists algorithm algorithms program programs script api json bug debug "
     "compile loop loops int bool variable variables database query regex assert test tests bash linux git c cpp rust "
     "golang react server implement implementation method lambda object pointer"},
    {"mathematics",
     "prove proof compute evaluate simplify solve find determine calculate integer integers polynomial equation "
     "equations triangle angle angles probability real prime primes matrix vector vectors integral derivative theorem "
     "root roots factor factors fraction square circle radius area perimeter volume digit digits divisible sequence "
     "terms positive negative graph coordinate coordinates plane line lines sin cos tan log modulo remainder "
     "expression inequality function"},
    {"explanation",
     "explain why describe compare contrast discuss meaning define definition example examples reason reasons cause "
     "causes effect effects analyze analyse advantages disadvantages pros cons difference differences similarities "
     "interpret overview understand concept significance impact role"},
    {"extraction",
     "extract table json format csv summarize summarise summary classify identify translate translation bullet bullets "
     "step steps options option following text passage paragraph sentence sentences words keywords provide output "
     "input given answer answers correct choose select label convert categorize"},
    {"conditional",
     "if when which who whom whose where that because suppose given assume assuming then unless while whether although "
     "since though until would could should might may"},
}};

namespace {

// The word in lowercase as two numbers, zeros after its end.
struct Key {
  uint64_t low;
  uint64_t high;
};

Key key_of(const char* word, size_t length) noexcept {
  constexpr uint64_t kLowercase = 0x2020202020202020U;
  const auto first_bytes = [](size_t count) { return count >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * count)) - 1; };
  Key key = {};
  std::memcpy(&key.low, word, 8);
  std::memcpy(&key.high, word + 8, 8);
  key.low = (key.low | kLowercase) & first_bytes(length);
  key.high = (key.high | kLowercase) & first_bytes(length > 8 ? length - 8 : 0);
  return key;
}

size_t hash(const Key& key) noexcept {
  uint64_t h = key.low * 0x9E3779B97F4A7C15U;
  h = (h ^ (h >> 32) ^ key.high) * 0xC2B2AE3D27D4EB4FU;
  return static_cast<size_t>(h >> 40);
}

}  // namespace

const WordListIndex& WordListIndex::get() {
  static const WordListIndex index;
  return index;
}

WordListIndex::WordListIndex() : lists_(), low_(), high_() {
  for (size_t list = 0; list < kWordLists; ++list) {
    std::string_view rest = kWordListTable[list].words;
    while (!rest.empty()) {
      const size_t length = std::min(rest.find(' '), rest.size());
      char padded[kLongestWord] = {};
      std::memcpy(padded, rest.data(), length);
      const Key key = key_of(padded, length);
      size_t slot = hash(key) % kSlots;
      while (lists_[slot] != 0 && (low_[slot] != key.low || high_[slot] != key.high)) slot = (slot + 1) % kSlots;
      low_[slot] = key.low;
      high_[slot] = key.high;
      lists_[slot] = static_cast<uint8_t>(lists_[slot] | 1U << list);
      rest.remove_prefix(std::min(length + 1, rest.size()));
    }
  }
}

uint8_t WordListIndex::lists_of(const char* word, size_t length) const noexcept {
  const Key key = key_of(word, length);
  for (size_t slot = hash(key) % kSlots;; slot = (slot + 1) % kSlots) {
    const uint8_t lists = lists_[slot];
    if (lists == 0 || (low_[slot] == key.low && high_[slot] == key.high)) return lists;
  }
}

}  // namespace fastroute::text
