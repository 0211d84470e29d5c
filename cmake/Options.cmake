option(AGX_TOOLS "Build the agx command" ON)
option(AGX_CHAT "Build agx chat and examples/chat, if libcurl is there" ON)
option(AGX_TESTS "Build the tests and the examples" ${PROJECT_IS_TOP_LEVEL})
option(AGX_BINDINGS "Build the bindings whose toolchains are installed" OFF)
option(AGX_BENCH "Build the benchmarks" OFF)
option(AGX_FUZZ "Build the libFuzzer targets (clang only)" OFF)
# Off by default: a newer compiler's new warning must not break somebody's package build.
option(AGX_WERROR "Treat warnings as errors" OFF)
set(AGX_SANITIZE "" CACHE STRING "Sanitizers to build with, such as address,undefined or thread")
set(AGX_TEST_LABELS "" CACHE STRING "Build only tests that carry one of these labels (;-list)")
set(AGX_TEST_SERVERS "" CACHE STRING
    "Other servers that the tests labelled redis also run against, such as valkey-server (;-list)")
set(AGX_TEST_PREFIX "" CACHE STRING "Prefix of every test's name, to tell several builds apart")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(AGX_CCACHE ccache)
mark_as_advanced(AGX_CCACHE)
if(AGX_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${AGX_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${AGX_CCACHE})
endif()

# Everything that is ours is compiled with these; they reach nobody who installs the library.
add_library(agx_flags INTERFACE)
target_compile_options(
  agx_flags
  INTERFACE -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wno-sign-conversion
            -Wformat=2
            $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>
            $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
            $<$<BOOL:${AGX_WERROR}>:-Werror>)
if(AGX_SANITIZE)
  target_compile_options(agx_flags INTERFACE -fsanitize=${AGX_SANITIZE} -fno-omit-frame-pointer
                                             -fno-sanitize-recover=all)
  target_link_options(agx_flags INTERFACE -fsanitize=${AGX_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ sees possible uses of uninitialised or freed memory in code that only the sanitizer added;
    # and it cannot follow fences under ThreadSanitizer, which libstdc++ has none of on our paths.
    target_compile_options(agx_flags INTERFACE -Wno-maybe-uninitialized -Wno-tsan)
  endif()
endif()
