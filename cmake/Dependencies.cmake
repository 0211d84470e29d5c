find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis>=0.14)
# hiredis.pc of 0.14 names only …/include/hiredis; ours is <hiredis/hiredis.h>, and must not be found
# in /usr/include when another copy was asked for.
foreach(dir IN LISTS HIREDIS_INCLUDE_DIRS)
  if(dir MATCHES "^(.+)/hiredis/?$" AND NOT CMAKE_MATCH_1 IN_LIST
                                        CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
    target_include_directories(PkgConfig::HIREDIS BEFORE INTERFACE "${CMAKE_MATCH_1}")
  endif()
endforeach()

# hiredis has TLS from 1.0 on, if the distribution built it.
pkg_check_modules(HIREDIS_SSL IMPORTED_TARGET hiredis_ssl)
if(HIREDIS_SSL_FOUND)
  pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
endif()

pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)

# `agx chat` and examples/chat talk to models over HTTP; without it they are left out.
if(AGX_CHAT)
  pkg_check_modules(CURL IMPORTED_TARGET libcurl>=7.87)
endif()
