// Times the parts of a score without Python around them: native_floors VOCABULARY MAX_TOKENS WIDTH PROMPT...
//
// VOCABULARY is the file that curves/native_floors.py writes, each PROMPT a file. Prints a line per prompt: tokens, and
// nanoseconds of the tokenizer, of summing a row of WIDTH floats per token, of one float per token, and of the surface
// features; each the median of repetitions of a call whose data are in the cache.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/simd.h"
#include "text/surface_features.h"
#include "text/wordpiece.h"

namespace {

using fastroute::text::WordPiece;
using fastroute::text::WordPieceOptions;

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string(path) + ": can't be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

WordPiece read_vocabulary(const char* path) {
  std::ifstream file(path, std::ios::binary);
  WordPieceOptions options;
  size_t specials = 0;
  std::string line;
  file >> options.unknown_id >> options.max_word_chars >> options.clean_text >> options.handle_chinese_chars >>
      options.strip_accents >> options.lowercase >> specials >> options.continuation_prefix;
  for (size_t i = 0; i < specials; ++i) {
    auto& [content, id] = options.special_tokens.emplace_back();
    file >> id >> content;
  }
  std::getline(file, line);
  std::vector<std::string> tokens;
  while (std::getline(file, line)) tokens.push_back(line);
  if (tokens.empty()) throw std::runtime_error(std::string(path) + ": holds no vocabulary");
  return {tokens, std::move(options)};
}

// Median nanoseconds of a call, over repetitions of 200 us or more.
template <class Call>
double nanoseconds(const Call& call) {
  using Clock = std::chrono::steady_clock;
  const auto run = [&](size_t times) {
    const auto start = Clock::now();
    for (size_t i = 0; i < times; ++i) call();
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  };
  size_t together = 1;
  while (run(together) < 200e3) together *= 2;
  std::vector<double> times(51);
  for (double& time : times) time = run(together) / static_cast<double>(together);
  std::ranges::nth_element(times, times.begin() + 25);
  return times[25];
}

void time_prompt(const WordPiece& tokenizer, size_t most, size_t width, const std::string& prompt) {
  const auto& kernels = fastroute::active_kernels();
  fastroute::text::Workspace workspace;
  const double tokenizing = nanoseconds([&] { tokenizer.encode(prompt, most, workspace); });
  const auto ids = workspace.ids;
  const std::vector<float> table(tokenizer.vocabulary_size() * width, 1.0F);
  std::vector<double> sums(width);
  volatile double kept = 0;
  const auto reading = [&](size_t columns) {
    return nanoseconds([&] {
      kernels.sum_rows_f32(table.data(), columns, ids.data(), ids.size(), sums.data());
      kept = sums[0];
    });
  };
  const double rows = reading(width);
  const double numbers = reading(1);
  float features[fastroute::text::kSurfaceFeatures];
  const double surface = nanoseconds([&] {
    fastroute::text::surface_features(prompt, features);
    kept = static_cast<double>(features[0]);
  });
  std::printf("%zu %.2f %.2f %.2f %.2f\n", ids.size(), tokenizing, rows, numbers, surface);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 5) throw std::runtime_error("usage: native_floors VOCABULARY MAX_TOKENS WIDTH PROMPT...");
    const WordPiece tokenizer = read_vocabulary(argv[1]);
    const size_t most = std::strtoul(argv[2], nullptr, 10);
    const size_t width = std::max<size_t>(1, std::strtoul(argv[3], nullptr, 10));
    for (int i = 4; i < argc; ++i) time_prompt(tokenizer, most, width, read_file(argv[i]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "native_floors: %s\n", error.what());
    return 1;
  }
  return 0;
}
