// The engine's exceptions. The bindings turn each into the Python class of the same meaning (fastroute.errors).
#pragma once

#include <stdexcept>

namespace fastroute {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An argument has a value that is not allowed.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

// An argument has a type that is not allowed.
class InvalidType : public Error {
 public:
  using Error::Error;
};

}  // namespace fastroute
