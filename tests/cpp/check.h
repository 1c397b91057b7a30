// Checks that count and report failures, and go on.
#pragma once

#include <cstdio>

namespace fastroute::tests {

inline int failures = 0;

inline void report(const char* file, int line, const char* expression) {
  constexpr int kShown = 20;
  if (++failures <= kShown) std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, expression);
}

// To be returned by main.
inline int summary(const char* what, long long cases) {
  std::printf("%s: %lld cases, %d failures\n", what, cases, failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace fastroute::tests

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::fastroute::tests::report(__FILE__, __LINE__, #condition))

#define CHECK_THROWS(expression, type)                                                         \
  do {                                                                                         \
    bool thrown = false;                                                                       \
    try {                                                                                      \
      static_cast<void>(expression);                                                           \
    } catch (const type&) {                                                                    \
      thrown = true;                                                                           \
    }                                                                                          \
    if (!thrown) ::fastroute::tests::report(__FILE__, __LINE__, #expression " throws " #type); \
  } while (false)
