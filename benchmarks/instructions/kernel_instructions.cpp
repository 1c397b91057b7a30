// Calls every kernel once on fixed data, at every level that this processor has: under callgrind, scalar and AVX2,
// since valgrind has no AVX-512. Each has a size that fills its registers and one that leaves a remainder.
//
// With --extra-pass each call is followed by one more read of its input, byte by byte: a regression to be found.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "counting.h"
#include "kernels.h"

namespace {

using fastroute::kernels::KernelTable;
using fastroute::kernels::SimdLevel;
namespace kernels = fastroute::kernels;

// std::mt19937 gives the same numbers with every library; the distributions of <random> do not.
std::mt19937 random_bits(20240626);

std::vector<float> floats(size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random_bits()) * 0x1p-31F - 1.0F;
  return values;
}

template <typename Integer>
std::vector<Integer> integers(size_t count, uint32_t below) {
  std::vector<Integer> values(count);
  for (Integer& value : values) value = static_cast<Integer>(random_bits() % below);
  return values;
}

const char* name_of(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512:
      return "avx512";
    case SimdLevel::kAvx2:
      return "avx2";
    case SimdLevel::kScalar:
      break;
  }
  return "scalar";
}

class Counter {
 public:
  Counter(SimdLevel level, bool extra_pass) : level_(name_of(level)), extra_pass_(extra_pass) {}

  // Counts one call; `input` is what the extra pass reads.
  template <typename Element, typename Call>
  void count(const std::string& label, const std::vector<Element>& input, Call call) const {
    const std::string full = label + ", " + level_;
    call();  // so that nothing is bound or paged in while it counts
    fastroute::instructions::begin();
    call();
    if (extra_pass_) read(input.data(), input.size() * sizeof(Element));
    fastroute::instructions::end(full.c_str());
  }

 private:
  static void read(const void* data, size_t size) {
    const auto* bytes = static_cast<const volatile unsigned char*>(data);
    for (size_t i = 0; i < size; ++i) static_cast<void>(bytes[i]);
  }

  std::string level_;
  bool extra_pass_;
};

std::string sizes(const char* kernel, const char* first, size_t count, const char* second = nullptr, size_t other = 0) {
  std::string label = std::string(kernel) + " " + first + "=" + std::to_string(count);
  if (second != nullptr) label += std::string(" ") + second + "=" + std::to_string(other);
  return label;
}

void count_products(const KernelTable& table, const Counter& counter, size_t rows, size_t n) {
  const auto matrix = floats(rows * n);
  const auto small = integers<int8_t>(rows * n, 256);
  const auto vector = floats(n);
  const auto scales = floats(rows);
  std::vector<float> out(rows);
  counter.count(sizes("dot_rows_f32", "rows", rows, "n", n), matrix,
                [&] { table.dot_rows_f32(matrix.data(), rows, vector.data(), n, out.data()); });
  counter.count(sizes("dot_rows_i8", "rows", rows, "n", n), small,
                [&] { table.dot_rows_i8(small.data(), scales.data(), rows, vector.data(), n, out.data()); });
  const std::vector<int8_t> row(small.begin(), small.begin() + static_cast<std::ptrdiff_t>(n));
  std::vector<float> sum(n);
  counter.count(sizes("add_scaled_i8", "n", n), row, [&] { table.add_scaled_i8(row.data(), 0.5F, sum.data(), n); });
}

void count_sums(const KernelTable& table, const Counter& counter, size_t rows, size_t width) {
  const auto values = floats(rows * width);
  const auto chosen = integers<int32_t>(rows, static_cast<uint32_t>(rows));
  std::vector<double> sums(width);
  counter.count(sizes("sum_rows_f32", "rows", rows, "width", width), values,
                [&] { table.sum_rows_f32(values.data(), width, chosen.data(), rows, sums.data()); });
}

void count_clipped(const KernelTable& table, const Counter& counter, size_t count, size_t n) {
  const auto x = floats(count);
  const auto mean = floats(count * n);
  const auto scale = floats(count * n);
  const auto weight = floats(count * n);
  const std::vector<float> most(n, 0.75F);
  std::vector<float> sums(n);
  counter.count(sizes("add_clipped_f32", "count", count, "n", n), mean, [&] {
    table.add_clipped_f32(x.data(), count, mean.data(), scale.data(), weight.data(), most.data(), n, sums.data());
  });
}

void count_text(const KernelTable& table, const Counter& counter, size_t n) {
  const auto text = integers<unsigned char>(n, 256);
  std::vector<uint64_t> masks(kernels::kTextClasses);
  counter.count(sizes("classify_text", "n", n), text, [&] { table.classify_text(text.data(), n, masks.data()); });
}

void count_elementwise(const KernelTable& table, const Counter& counter, size_t n) {
  auto x = floats(n);
  for (float& value : x) value *= 8.0F;
  const auto dots = integers<int32_t>(n, 1U << 20U);
  auto scales = floats(n);
  for (float& scale : scales) scale = (scale + 1.0F) * 0x1p-21F;  // products from 0 to 1
  std::vector<float> out(n);
  volatile double kept = 0;
  counter.count(sizes("sigmoid_f32", "n", n), x, [&] { table.sigmoid_f32(x.data(), out.data(), n); });
  counter.count(sizes("max_scaled_i32", "n", n), dots,
                [&] { kept = static_cast<double>(table.max_scaled_i32(dots.data(), scales.data(), n)); });
  counter.count(sizes("similarity_weights", "n", n), dots,
                [&] { table.similarity_weights(dots.data(), scales.data(), 30.0F, -30.0F, n, out.data()); });
  counter.count(sizes("sum_f32", "n", n), x, [&] { kept = table.sum_f32(x.data(), n); });
}

void count_blocks(const KernelTable& table, const Counter& counter, size_t blocks, size_t groups, size_t queries) {
  const auto rows = integers<uint8_t>(blocks * kernels::kBlockRows * kernels::kGroup * groups, 256);
  const auto sought = integers<int8_t>(queries * kernels::kGroup * groups, 256);
  const std::vector<int32_t> starts(queries, 7);
  const size_t stride = blocks * kernels::kBlockRows;
  std::vector<int32_t> dots(queries * stride);
  const std::string label = sizes("dot_blocks_i8", "blocks", blocks, "groups", groups);
  counter.count(sizes(label.c_str(), "queries", queries), rows, [&] {
    table.dot_blocks_i8(rows.data(), blocks, groups, sought.data(), starts.data(), queries, dots.data(), stride);
  });
}

}  // namespace

int main(int count, char** arguments) {
  const bool extra_pass = count == 2 && std::strcmp(arguments[1], "--extra-pass") == 0;
  if (count > 1 && !extra_pass) {
    std::fprintf(stderr, "usage: kernel_instructions [--extra-pass]\n");
    return 2;
  }
#ifdef __clang__
  std::printf("compiler Clang %d.%d.%d\n", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  std::printf("compiler GNU %d.%d.%d\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
  fastroute::instructions::switch_on();
  for (size_t index = 0; const KernelTable* table = kernels::available_table(index); ++index) {
    if (table->level == SimdLevel::kAvx512) break;  // not under valgrind, and then two tables would have one name
    const Counter counter(table->level, extra_pass);
    count_products(*table, counter, 64, 384);
    count_products(*table, counter, 3, 29);
    count_sums(*table, counter, 95, 48);
    count_sums(*table, counter, 7, 5);
    count_clipped(*table, counter, 29, 16);
    count_clipped(*table, counter, 3, 32);
    count_text(*table, counter, kernels::kTextBlock);
    count_text(*table, counter, 37);
    count_elementwise(*table, counter, 1024);
    count_elementwise(*table, counter, 13);
    count_blocks(*table, counter, 16, 96, 1);
    count_blocks(*table, counter, 5, 7, 3);
  }
}
