// Threads for batches. One pool per process, started at the first batch that needs it; a prompt of its own never
// touches it.
#pragma once

#include <cstddef>
#include <functional>

namespace fastroute {

// Threads that a batch may use, the caller's included. At first FASTROUTE_NUM_THREADS, or else the number of
// processors that this process may run on. Throws InvalidArgument where that variable is not in 1..1024.
size_t num_threads();

// Throws InvalidArgument unless 1 <= count <= 1024. Batches under way keep the threads they have.
void set_num_threads(size_t count);

// Calls body(begin, end) on disjoint ranges that cover 0..count, each of at most `grain` items, from up to
// num_threads() threads, the caller among them, and returns when all are done. The first exception of a body is
// rethrown here once all have stopped. Any number of threads may call at once. Safe across fork: a child starts its own
// threads.
void parallel_for(size_t count, size_t grain, const std::function<void(size_t begin, size_t end)>& body);

}  // namespace fastroute
