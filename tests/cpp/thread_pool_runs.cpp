// parallel_for: each index once, exceptions, concurrent callers, and children of fork.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "runtime/error.h"
#include "runtime/thread_pool.h"

namespace {

using fastroute::parallel_for;

bool covers_each_once(size_t count, size_t grain) {
  std::vector<std::atomic<int>> seen(count);
  std::atomic<bool> sound{true};
  parallel_for(count, grain, [&](size_t begin, size_t end) {
    if (begin >= end || end > count) sound = false;
    for (size_t i = begin; i < end; ++i) ++seen[i];
  });
  for (const auto& times : seen) {
    if (times != 1) return false;
  }
  return sound;
}

long long check_coverage() {
  long long cases = 0;
  for (const size_t threads : {1U, 2U, 4U, 8U}) {
    fastroute::set_num_threads(threads);
    for (const size_t count : {0U, 1U, 2U, 7U, 64U, 1000U, 4096U}) {
      for (const size_t grain : {1U, 3U, 64U, 5000U}) {
        CHECK(covers_each_once(count, grain));
        ++cases;
      }
    }
  }
  return cases;
}

long long check_concurrent_callers() {
  constexpr int kCallers = 8;
  constexpr int kRounds = 200;
  fastroute::set_num_threads(4);
  std::atomic<int> bad{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&bad, caller] {
      for (int round = 0; round < kRounds; ++round) {
        if (!covers_each_once(static_cast<size_t>(100 + caller + round), 7)) ++bad;
      }
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(bad == 0);
  return kCallers * kRounds;
}

long long check_exceptions() {
  constexpr int kRounds = 200;
  fastroute::set_num_threads(4);
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> running{0};
    bool thrown = false;
    try {
      parallel_for(64, 1, [&](size_t begin, size_t) {
        ++running;
        if (begin % 8 == 3) {
          --running;
          throw std::runtime_error("expected");
        }
        --running;
      });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    CHECK(thrown);
    CHECK(running == 0);  // nothing of a failed call is still under way
  }
  CHECK(covers_each_once(1000, 3));
  return kRounds;
}

long long check_nesting() {
  fastroute::set_num_threads(4);
  std::atomic<size_t> inner{0};
  parallel_for(16, 1, [&](size_t, size_t) {
    parallel_for(0, 1, [&](size_t, size_t) { inner += 1000; });
    parallel_for(10, 1, [&](size_t begin, size_t end) { inner += end - begin; });
  });
  CHECK(inner == 160);
  return 1;
}

long long check_thread_counts() {
  using fastroute::InvalidArgument;
  CHECK_THROWS(fastroute::set_num_threads(0), InvalidArgument);
  CHECK_THROWS(fastroute::set_num_threads(1025), InvalidArgument);
  fastroute::set_num_threads(1024);
  CHECK(fastroute::num_threads() == 1024);
  fastroute::set_num_threads(3);
  CHECK(fastroute::num_threads() == 3);
  return 4;
}

// A child has its own threads; a busy parent must not leave it a locked lock. A hang ends in SIGALRM.
[[maybe_unused]] long long check_fork() {
  constexpr int kChildren = 100;
  fastroute::set_num_threads(4);
  std::atomic<bool> stop{false};
  std::thread busy([&stop] {
    while (!stop) parallel_for(64, 1, [](size_t, size_t) {});
  });
  for (int i = 0; i < kChildren; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      _exit(covers_each_once(500, 7) ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();
  CHECK(covers_each_once(500, 7));
  return kChildren;
}

}  // namespace

int main() {
  long long cases =
      check_thread_counts() + check_coverage() + check_concurrent_callers() + check_exceptions() + check_nesting();
#ifndef THREAD_SANITIZED  // which does not support threads in a forked child
  cases += check_fork();
#endif
  return fastroute::tests::summary("thread pool", cases);
}
