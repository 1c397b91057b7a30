#include "runtime/thread_pool.h"

#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/error.h"

namespace fastroute {
namespace {

constexpr size_t kMaxThreads = 1024;

size_t checked_thread_count(size_t count, const char* what) {
  if (count < 1 || count > kMaxThreads) {
    throw InvalidArgument(std::string(what) + ": found " + std::to_string(count) + ", allowed: 1 to " +
                          std::to_string(kMaxThreads));
  }
  return count;
}

size_t available_processors() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<size_t>(std::max(1, CPU_COUNT(&set)));
#endif
  return std::max<size_t>(1, std::thread::hardware_concurrency());
}

size_t initial_thread_count() {
  const char* text = std::getenv("FASTROUTE_NUM_THREADS");
  if (text == nullptr || *text == '\0') return std::min(available_processors(), kMaxThreads);
  size_t count = 0;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, count);
  if (error != std::errc{} || stopped != end) {
    throw InvalidArgument("environment variable FASTROUTE_NUM_THREADS: found '" + std::string(text) +
                          "', allowed: a whole number from 1 to " + std::to_string(kMaxThreads));
  }
  return checked_thread_count(count, "environment variable FASTROUTE_NUM_THREADS");
}

std::atomic<size_t>& thread_count() {
  static std::atomic<size_t> count{initial_thread_count()};
  return count;
}

// One parallel_for call. Threads take ranges from it until none is left.
class Job {
 public:
  Job(size_t count, size_t grain, const std::function<void(size_t, size_t)>& body)
      : count_(count), grain_(grain), body_(body) {}

  void work() noexcept {
    for (;;) {
      const size_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
      if (begin >= count_) return;
      try {
        body_(begin, std::min(count_, begin + grain_));
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_.store(count_, std::memory_order_relaxed);
      }
    }
  }

  // A helper announces itself while the pool's lock keeps the job in the queue, so the caller can't miss it.
  void enter() noexcept {
    const std::lock_guard lock(mutex_);
    ++helpers_;
  }

  void leave() noexcept {
    // Notified under the lock: the caller may free this job as soon as it can take it.
    const std::lock_guard lock(mutex_);
    if (--helpers_ == 0) done_.notify_all();
  }

  void wait_and_rethrow() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return helpers_ == 0; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const size_t count_;
  const size_t grain_;
  const std::function<void(size_t, size_t)>& body_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable done_;
  size_t helpers_ = 0;
  std::exception_ptr error_;
};

class Pool {
 public:
  // Runs the job with up to `threads` threads, the caller among them.
  void run(Job& job, size_t threads) {
    invite(job, threads - 1);
    wake_.notify_all();
    job.work();
    {
      const std::lock_guard lock(mutex_);
      std::erase(queue_, &job);  // invitations that no worker has taken
    }
    job.wait_and_rethrow();
  }

 private:
  // Where the system has no thread or memory left, the job does with fewer helpers.
  void invite(Job& job, size_t helpers) noexcept {
    const std::lock_guard lock(mutex_);
    try {
      while (workers_.size() < helpers) workers_.emplace_back([this] { serve(); });
    } catch (const std::exception&) {
      helpers = workers_.size();
    }
    try {
      for (size_t i = 0; i < helpers; ++i) queue_.push_back(&job);
    } catch (const std::exception&) {
      return;
    }
  }

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !queue_.empty(); });
      Job* job = queue_.front();
      queue_.pop_front();
      job->enter();
      lock.unlock();
      job->work();
      job->leave();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job*> queue_;
  std::vector<std::thread> workers_;
};

// Never freed: its threads wait for work until the process ends, and a forked child must not touch its parent's.
std::atomic<Pool*> current_pool{nullptr};
std::mutex pool_creation;

// Registered before any thread can hold the lock, so that a child never inherits it locked.
const int fork_handlers = pthread_atfork([] { pool_creation.lock(); }, [] { pool_creation.unlock(); },
                                         [] {
                                           current_pool.store(nullptr, std::memory_order_relaxed);
                                           pool_creation.unlock();
                                         });

Pool& pool() {
  Pool* existing = current_pool.load(std::memory_order_acquire);
  if (existing != nullptr) return *existing;
  const std::lock_guard lock(pool_creation);
  existing = current_pool.load(std::memory_order_relaxed);
  if (existing == nullptr) {
    existing = new Pool;
    current_pool.store(existing, std::memory_order_release);
  }
  return *existing;
}

}  // namespace

size_t num_threads() { return thread_count().load(std::memory_order_relaxed); }

void set_num_threads(size_t count) {
  thread_count().store(checked_thread_count(count, "num_threads"), std::memory_order_relaxed);
}

void parallel_for(size_t count, size_t grain, const std::function<void(size_t begin, size_t end)>& body) {
  const size_t ranges = (count + grain - 1) / grain;
  const size_t threads = std::min(num_threads(), ranges);
  if (threads <= 1) {
    if (count > 0) body(0, count);
    return;
  }
  Job job(count, grain, body);
  pool().run(job, threads);
}

}  // namespace fastroute
