# Debian packages by `cpack -G DEB` in a build laid out for /usr (preset `package`): libagx0,
# libagx-dev and agx-tools.
if(NOT PROJECT_IS_TOP_LEVEL OR NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  return()
endif()

set(AGX_PACKAGER "The libagx authors <libagx@localhost>"
    CACHE STRING "The Maintainer of the Debian packages")
set(AGX_RUNTIME libagx${PROJECT_VERSION_MAJOR})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libagx)
set(CPACK_PACKAGE_VENDOR "The libagx authors")
set(CPACK_PACKAGE_CONTACT "${AGX_PACKAGER}")
# Else it would become the first line of every package's description.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime development tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SOURCE libagx)

set(about "libagx carries what an AI agent does, while it does it, from the process that
runs the agent to every process that wants to watch, steer or stop it, through
a Redis server or within one process.")

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME ${AGX_RUNTIME})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/triggers)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "agents' events, followed live (library)\n${about}")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libagx-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "${AGX_RUNTIME} (= ${PROJECT_VERSION}), libhiredis-dev")
if(HIREDIS_SSL_FOUND)
  string(APPEND CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS ", libssl-dev")
endif()
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION
    "agents' events, followed live (development files)\n${about}

This package has the header, the static library and what pkg-config and CMake
need.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME agx-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
# The library is not installed where dpkg-shlibdeps could ask what package it belongs to.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/src)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "${AGX_RUNTIME} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_TOOLS_DESCRIPTION
    "agents' events, followed live (command)\n${about}

This package has the command, agx.")

# What Debian's policy asks of every package.
string(TIMESTAMP AGX_CHANGELOG_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
set(AGX_DEBIAN_DIR ${PROJECT_BINARY_DIR}/debian)
file(CONFIGURE OUTPUT ${AGX_DEBIAN_DIR}/changelog CONTENT
     "libagx (${PROJECT_VERSION}) unstable; urgency=medium

  * Release ${PROJECT_VERSION}.

 -- ${AGX_PACKAGER}  ${AGX_CHANGELOG_DATE}
")
file(READ LICENSE license)
string(REGEX REPLACE "\n+$" "" license "${license}")
string(REGEX REPLACE "\n\n" "\n.\n" license "${license}")
string(REPLACE "\n" "\n " license "${license}")
string(REGEX MATCH "Copyright \\(c\\) ([^\n]+)" copyright "${license}")
file(CONFIGURE OUTPUT ${AGX_DEBIAN_DIR}/copyright CONTENT
     "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: libagx

Files: *
Copyright: ${CMAKE_MATCH_1}
License: Expat
 ${license}
")

file(WRITE ${AGX_DEBIAN_DIR}/triggers "activate-noawait ldconfig\n")

find_program(AGX_GZIP gzip REQUIRED)
execute_process(COMMAND ${AGX_GZIP} -9nf ${AGX_DEBIAN_DIR}/changelog COMMAND_ERROR_IS_FATAL ANY)
foreach(pair IN ITEMS runtime/${AGX_RUNTIME} development/libagx-dev tools/agx-tools)
  cmake_path(GET pair PARENT_PATH component)
  cmake_path(GET pair FILENAME package)
  install(FILES ${AGX_DEBIAN_DIR}/changelog.gz ${AGX_DEBIAN_DIR}/copyright
          DESTINATION share/doc/${package} COMPONENT ${component} EXCLUDE_FROM_ALL)
endforeach()

include(CPack)
