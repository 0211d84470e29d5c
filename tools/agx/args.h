// The command line: what commands and options there are, and what the user gave.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util.h"

namespace cli {

struct Option {
  std::string_view name;   // without the dashes
  std::string_view value;  // what its value is called; empty: it takes none
  std::string_view help;
};

class Arguments;

struct Command {
  std::string_view name;
  std::string_view operands;  // as usage shows them
  size_t min_operands;
  size_t max_operands;
  std::string_view summary;
  std::string_view details;
  std::span<const Option> options;
  int (*run)(const Arguments&);
};

class Arguments {
 public:
  // Null: the user named none.
  const Command* command() const { return command_; }
  const std::vector<std::string>& operands() const { return operands_; }

  bool Has(std::string_view name) const { return options_.contains(name); }
  // Null if it was not given; the last one if it was given more than once.
  const std::string* Get(std::string_view name) const;
  // For a duration: the option's value as milliseconds, or `otherwise` if it was not given.
  Result<int64_t> Seconds(std::string_view name, int64_t otherwise, bool allow_never) const;

 private:
  friend class ArgumentParser;

  const Command* command_ = nullptr;
  std::vector<std::string> operands_;
  std::map<std::string, std::string, std::less<>> options_;
};

// Options that every command takes, before or after its name.
extern const std::span<const Option> kGlobalOptions;

Result<Arguments> ParseArguments(std::span<const Command> commands,
                                 std::span<const char* const> words);

std::string GeneralHelp(std::span<const Command> commands);
std::string CommandHelp(const Command& command);
const Command* FindCommand(std::span<const Command> commands, std::string_view name);

}  // namespace cli
