// Every kernel at every level, for every length from 0 to 257, on arrays that end where an inaccessible page begins and
// on arrays that begin where one ends. An access outside kills the process.
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "check.h"
#include "levels.h"

namespace {

using fastroute::kernels::KernelTable;

constexpr size_t kLongest = 257;
constexpr size_t kMostRows = 3;

enum class Edge { kEnd, kBegin };

// Memory between two inaccessible pages.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t capacity) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_ = (capacity + page - 1) / page * page;
    void* base = mmap(nullptr, size_ + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) std::abort();
    begin_ = static_cast<unsigned char*>(base) + page;
    if (mprotect(begin_, size_, PROT_READ | PROT_WRITE) != 0) std::abort();
    std::memset(begin_, 0x11, size_);  // small positive numbers, whether read as floats or as bytes
  }

  template <class T>
  T* at(Edge edge, size_t count) {
    unsigned char* p = edge == Edge::kEnd ? begin_ + size_ - count * sizeof(T) : begin_;
    return reinterpret_cast<T*>(p);
  }

 private:
  unsigned char* begin_;
  size_t size_;
};

// Where a fault happened, for the signal handler; plain memory that it may read.
char place[128];

extern "C" void on_fault(int) {
  constexpr char kMessage[] = "access outside the array: ";
  static_cast<void>(!write(STDERR_FILENO, kMessage, sizeof kMessage - 1));
  static_cast<void>(!write(STDERR_FILENO, place, std::strlen(place)));
  _exit(1);
}

void tell(const KernelTable& kernels, const char* kernel, size_t rows, size_t n, Edge edge) {
  std::snprintf(place, sizeof place, "%s, level %d, %zu rows, length %zu, %s\n", kernel,
                static_cast<int>(kernels.level), rows, n, edge == Edge::kEnd ? "page after" : "page before");
}

long long check_blocks(const KernelTable& kernels) {
  constexpr size_t kMostBlocks = 7, kMostQueries = 19, kMostGroups = 17;
  GuardedBuffer blocks(kMostBlocks * kMostGroups * 64), queries(kMostQueries * kMostGroups * 4),
      starts(kMostQueries * 4), dots(kMostQueries * kMostBlocks * 64);
  long long cases = 0;
  for (const Edge edge : {Edge::kEnd, Edge::kBegin}) {
    for (size_t groups = 0; groups <= kMostGroups; ++groups) {
      for (size_t count = 0; count <= kMostBlocks; ++count) {
        for (size_t q = 0; q <= kMostQueries; ++q) {
          tell(kernels, "dot_blocks_i8", count, groups, edge);
          kernels.dot_blocks_i8(blocks.at<uint8_t>(edge, count * groups * 64), count, groups,
                                queries.at<int8_t>(edge, q * groups * 4), starts.at<int32_t>(edge, q), q,
                                dots.at<int32_t>(edge, q * count * 16), count * 16);
          ++cases;
        }
      }
    }
  }
  return cases;
}

long long check_level(const KernelTable& kernels) {
  constexpr size_t kBytes = kMostRows * kLongest * sizeof(float);
  GuardedBuffer first(kBytes), second(kBytes), third(kBytes), fourth(kBytes), fifth(kBytes), sixth(kBytes);
  long long cases = 0;
  const auto now = [&](const char* kernel, size_t rows, size_t n, Edge edge) {
    tell(kernels, kernel, rows, n, edge);
    ++cases;
  };
  for (const Edge edge : {Edge::kEnd, Edge::kBegin}) {
    for (size_t n = 0; n <= kLongest; ++n) {
      for (size_t rows = 0; rows <= kMostRows; ++rows) {
        now("dot_rows_f32", rows, n, edge);
        kernels.dot_rows_f32(first.at<float>(edge, rows * n), rows, second.at<float>(edge, n), n,
                             third.at<float>(edge, rows));
        now("dot_rows_i8", rows, n, edge);
        kernels.dot_rows_i8(first.at<int8_t>(edge, rows * n), fourth.at<float>(edge, rows), rows,
                            second.at<float>(edge, n), n, third.at<float>(edge, rows));
      }
      now("add_scaled_i8", 1, n, edge);
      kernels.add_scaled_i8(first.at<int8_t>(edge, n), 0.5F, second.at<float>(edge, n), n);
      now("sigmoid_f32", 1, n, edge);
      kernels.sigmoid_f32(second.at<float>(edge, n), third.at<float>(edge, n), n);
      const int32_t order[] = {2, 0, 1};
      for (size_t rows = 0; rows <= kMostRows; ++rows) {
        now("sum_rows_f32", rows, n, edge);
        kernels.sum_rows_f32(first.at<float>(edge, kMostRows * n), n, order, rows, fifth.at<double>(edge, n));
        if (n % 16 != 0) continue;
        now("add_clipped_f32", rows, n, edge);
        kernels.add_clipped_f32(sixth.at<float>(edge, rows), rows, first.at<float>(edge, rows * n),
                                second.at<float>(edge, rows * n), third.at<float>(edge, rows * n),
                                fourth.at<float>(edge, n), n, fifth.at<float>(edge, n));
      }
      now("max_scaled_i32", 1, n, edge);
      kernels.max_scaled_i32(first.at<int32_t>(edge, n), second.at<float>(edge, n), n);
      now("similarity_weights", 1, n, edge);
      kernels.similarity_weights(first.at<int32_t>(edge, n), second.at<float>(edge, n), 0.0F, 0.5F, n,
                                 third.at<float>(edge, n));
      now("sum_f32", 1, n, edge);
      kernels.sum_f32(first.at<float>(edge, n), n);
      if (n > fastroute::kernels::kTextBlock) continue;
      now("classify_text", 1, n, edge);
      kernels.classify_text(first.at<unsigned char>(edge, n), n,
                            fifth.at<uint64_t>(edge, fastroute::kernels::kTextClasses));
    }
  }
  return cases + check_blocks(kernels);
}

}  // namespace

int main() {
  struct sigaction action = {};
  action.sa_handler = on_fault;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
  long long cases = 0;
  for (const KernelTable* kernels : fastroute::tests::available_levels()) cases += check_level(*kernels);
  return fastroute::tests::summary("guard pages", cases);
}
