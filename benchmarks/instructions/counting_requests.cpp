// counting.h for Python.
#include "counting.h"

extern "C" {

void switch_on() { fastroute::instructions::switch_on(); }

void begin() { fastroute::instructions::begin(); }

void end(const char* label) { fastroute::instructions::end(label); }
}
