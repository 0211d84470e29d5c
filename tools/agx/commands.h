// The commands. Each returns the exit status.
#pragma once

#include "args.h"

namespace cli {

int RunStart(const Arguments& arguments);
int RunStop(const Arguments& arguments);
int RunCancel(const Arguments& arguments);
int RunLive(const Arguments& arguments);
int RunAdd(const Arguments& arguments);
int RunListen(const Arguments& arguments);
int RunChat(const Arguments& arguments);
int RunFeed(const Arguments& arguments);
int RunHistory(const Arguments& arguments);
int RunInfo(const Arguments& arguments);
int RunGroup(const Arguments& arguments);
int RunMessages(const Arguments& arguments);
int RunBridge(const Arguments& arguments);
int RunLs(const Arguments& arguments);
int RunDemo(const Arguments& arguments);

// --lease as milliseconds, 0 if it was not given.
Result<int64_t> LeaseOption(const Arguments& arguments);

}  // namespace cli
