// Files under tests/data/.
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace agx::test {

inline std::string ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string ReadData(const std::string& name) {
  const char* source = std::getenv("AGX_SOURCE_DIR");
  return ReadWholeFile(std::string(source != nullptr ? source : ".") + "/tests/data/" + name);
}

}  // namespace agx::test
