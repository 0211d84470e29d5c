#include "args.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace cli {
namespace {

constexpr std::array kGlobals = {
    Option{"url", "URL",
           "the store: redis://host:port/db, rediss://…, unix:///path, memory:;\n"
           "default $AGX_URL, or redis://127.0.0.1:6379"},
    Option{"prefix", "PREFIX", "first part of every key; default agx"},
    Option{"format", "FORMAT",
           "whose streams: agx (the default), openai-agents, agent-framework or ag2, where\n"
           "a stream's name stands for SCOPE/USER/SESSION"},
    Option{"color", "WHEN", "auto (the default), always or never"},
    Option{"verbose", "", "say on standard error what the library does"},
    Option{"help", "", "show help, of the command if one is named"},
};

const Option* FindOption(std::span<const Option> options, std::string_view name) {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [name](const Option& option) { return option.name == name; });
  return found == options.end() ? nullptr : &*found;
}

// A scope may be negative, and no option begins with a digit.
bool IsOption(std::string_view word) {
  return word.size() > 1 && word[0] == '-' &&
         std::isdigit(static_cast<unsigned char>(word[1])) == 0;
}

void AppendOptions(std::span<const Option> options, std::string* out) {
  size_t width = 0;
  const auto label = [](const Option& option) {
    std::string text = "--" + std::string(option.name);
    if (!option.value.empty()) text += " " + std::string(option.value);
    return text;
  };
  for (const Option& option : options) width = std::max(width, label(option).size());
  for (const Option& option : options) {
    std::string text = label(option);
    text.resize(width, ' ');
    *out += "  " + text + "  ";
    for (const char c : option.help) {
      *out += c;
      if (c == '\n') out->append(width + 4, ' ');
    }
    *out += '\n';
  }
}

}  // namespace

const std::span<const Option> kGlobalOptions = kGlobals;

const std::string* Arguments::Get(std::string_view name) const {
  const auto found = options_.find(name);
  return found == options_.end() ? nullptr : &found->second;
}

Result<int64_t> Arguments::Seconds(std::string_view name, int64_t otherwise,
                                   bool allow_never) const {
  const std::string* text = Get(name);
  if (!text) return otherwise;
  Result<int64_t> value = ParseSeconds(*text, allow_never);
  if (!value.ok()) return Result<int64_t>::Error("--" + std::string(name) + ": " + value.error());
  return value;
}

class ArgumentParser {
 public:
  ArgumentParser(std::span<const Command> commands, std::span<const char* const> words)
      : commands_(commands), words_(words) {}

  Result<Arguments> Parse() {
    std::string error;
    while (error.empty() && next_ < words_.size()) {
      const std::string_view word = words_[next_++];
      if (!only_operands_ && word == "--") {
        only_operands_ = true;
      } else if (!only_operands_ && IsOption(word)) {
        error = TakeOption(word == "-h" ? "--help" : word);
      } else {
        error = TakeWord(word);
      }
    }
    if (error.empty() && !parsed_.Has("help")) error = CheckCount();
    if (!error.empty()) return Result<Arguments>::Error(error);
    return parsed_;
  }

 private:
  // Each of these returns what is wrong, or "".
  std::string TakeOption(std::string_view word) {
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const Option* option = name.starts_with("--") ? Known(name.substr(2)) : nullptr;
    if (!option) return Unknown(name);
    std::string& value = parsed_.options_[std::string(option->name)];
    value.clear();
    if (option->value.empty()) {
      return equals == word.npos ? "" : std::string(name) + " takes no value";
    }
    if (equals != word.npos) {
      value = word.substr(equals + 1);
    } else if (next_ < words_.size()) {
      value = words_[next_++];
    } else {
      return std::string(name) + " needs a value: " + std::string(option->value);
    }
    return "";
  }

  std::string TakeWord(std::string_view word) {
    if (parsed_.command_) {
      parsed_.operands_.emplace_back(word);
      return "";
    }
    parsed_.command_ = FindCommand(commands_, word);
    if (parsed_.command_) return "";
    if (word == "help") return TakeOption("--help");
    return "there is no command \"" + std::string(word) + "\"; agx --help lists them";
  }

  std::string CheckCount() const {
    const Command* command = parsed_.command_;
    if (!command) return "which command? agx --help lists them";
    const size_t count = parsed_.operands_.size();
    if (count >= command->min_operands && count <= command->max_operands) return "";
    std::string usage = "usage: agx " + std::string(command->name);
    if (!command->operands.empty()) usage += " " + std::string(command->operands);
    if (count > command->max_operands) {
      usage += "; \"" + parsed_.operands_[command->max_operands] + "\" is too much";
    }
    return usage;
  }

  const Option* Known(std::string_view name) const {
    const Option* option = FindOption(kGlobalOptions, name);
    if (!option && parsed_.command_) option = FindOption(parsed_.command_->options, name);
    return option;
  }

  std::string Unknown(std::string_view name) const {
    std::string message = "there is no option " + std::string(name);
    if (parsed_.command_) {
      const std::string command(parsed_.command_->name);
      return message + " for agx " + command + "; see agx " + command + " --help";
    }
    for (const Command& command : commands_) {
      if (name == "--" + std::string(command.name)) {
        return message + "; agx " + std::string(command.name) + " is a command";
      }
      if (name.starts_with("--") && FindOption(command.options, name.substr(2))) {
        return std::string(name) + " has to come after the command";
      }
    }
    return message + "; see agx --help";
  }

  std::span<const Command> commands_;
  std::span<const char* const> words_;
  size_t next_ = 0;
  bool only_operands_ = false;
  Arguments parsed_;
};

Result<Arguments> ParseArguments(std::span<const Command> commands,
                                 std::span<const char* const> words) {
  return ArgumentParser(commands, words).Parse();
}

const Command* FindCommand(std::span<const Command> commands, std::string_view name) {
  const auto found = std::find_if(commands.begin(), commands.end(),
                                  [name](const Command& command) { return command.name == name; });
  return found == commands.end() ? nullptr : &*found;
}

std::string GeneralHelp(std::span<const Command> commands) {
  std::string out =
      "agx: an agent's events, written in one process, followed live in any other\n\n"
      "usage: agx [--url URL] [--prefix PREFIX] [--format FORMAT] COMMAND …\n\ncommands:\n";
  for (const Command& command : commands) {
    std::string name(command.name);
    name.resize(10, ' ');
    out += "  " + name + std::string(command.summary) + "\n";
  }
  out += "\noptions, before or after the command:\n";
  AppendOptions(kGlobalOptions, &out);
  out +=
      "\nexit status:\n"
      "  0 done               5 the session is live already\n"
      "  1 no: not live,      6 it may have been written all the same\n"
      "    or nothing there   7 silent for too long\n"
      "  2 wrong usage, or    8 the producer is gone\n"
      "    not valid          9 done, but events were missing\n"
      "  3 store unreachable 10 canceled\n"
      "  4 failed, or cannot 11 taken over\n"
      "    be read or held   12 the model failed\n"
      "129, 130, 143 hangup, Ctrl-C, SIGTERM\n"
      "\nagx help COMMAND says more, as agx COMMAND --help does, and man agx everything.\n";
  return out;
}

std::string CommandHelp(const Command& command) {
  std::string out = "usage: agx " + std::string(command.name);
  if (!command.operands.empty()) out += " " + std::string(command.operands);
  if (!command.options.empty()) out += " [options]";
  out += "\n\n" + std::string(command.details) + "\n";
  if (!command.options.empty()) {
    out += "\noptions:\n";
    AppendOptions(command.options, &out);
  }
  out += "\noptions of every command:\n";
  AppendOptions(kGlobalOptions, &out);
  return out;
}

}  // namespace cli
