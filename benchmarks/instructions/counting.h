// Requests to callgrind; nothing happens outside of it. What runs between `begin` and `end` is counted, and written
// under a label. `begin` and `end` are counted with it: some ten instructions.
#pragma once

#include <valgrind/callgrind.h>

namespace fastroute::instructions {

inline void switch_on() { CALLGRIND_START_INSTRUMENTATION; }

inline void begin() { CALLGRIND_ZERO_STATS; }

inline void end(const char* label) { CALLGRIND_DUMP_STATS_AT(label); }

}  // namespace fastroute::instructions
