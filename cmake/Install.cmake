include(CMakePackageConfigHelpers)

install(TARGETS agx_shared EXPORT agxTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime
                NAMELINK_COMPONENT development)
install(TARGETS agx_static EXPORT agxStaticTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(FILES include/agx.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)

set(AGX_CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/agx)
if(HIREDIS_SSL_FOUND)
  set(AGX_CONFIG_TLS TRUE)
else()
  set(AGX_CONFIG_TLS FALSE)
endif()
configure_package_config_file(cmake/agxConfig.cmake.in ${PROJECT_BINARY_DIR}/agxConfig.cmake
                              INSTALL_DESTINATION ${AGX_CONFIG_DIR})
# Until 1.0 a minor version may break what was built against another.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/agxConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/agxConfig.cmake ${PROJECT_BINARY_DIR}/agxConfigVersion.cmake
        DESTINATION ${AGX_CONFIG_DIR} COMPONENT development)
foreach(set IN ITEMS agxTargets agxStaticTargets)
  install(EXPORT ${set} NAMESPACE agx:: DESTINATION ${AGX_CONFIG_DIR} COMPONENT development)
endforeach()

# agx.pc names the prefix, which is known for sure only when installing (cmake --install --prefix).
set(AGX_PC_REQUIRES_PRIVATE "hiredis >= 0.14")
if(HIREDIS_SSL_FOUND)
  set(AGX_PC_REQUIRES_PRIVATE "hiredis >= 0.14, hiredis_ssl, openssl")
endif()
set(AGX_PC_LIBS_PRIVATE "-lstdc++ -lm -pthread")
configure_file(cmake/install-pc.cmake.in ${PROJECT_BINARY_DIR}/install-pc.cmake @ONLY)
install(SCRIPT ${PROJECT_BINARY_DIR}/install-pc.cmake COMPONENT development)

if(TARGET agx)
  # An installed agx finds the library beside it, wherever that is.
  file(RELATIVE_PATH AGX_BIN_TO_LIB ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(agx PROPERTIES INSTALL_RPATH "$ORIGIN/${AGX_BIN_TO_LIB}")
  install(TARGETS agx RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
  # Under /usr the loader finds it by itself, and a distribution wants no search path in a program.
  install(CODE "
    if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
      file(RPATH_REMOVE FILE \"\$ENV{DESTDIR}/usr/${CMAKE_INSTALL_BINDIR}/agx\")
    endif()" COMPONENT tools)

  # Globbed for those that are there.
  file(GLOB AGX_MAN CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/agx.1)
  file(GLOB_RECURSE AGX_BASH CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/agx.bash)
  file(GLOB_RECURSE AGX_ZSH CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/_agx)
  file(GLOB_RECURSE AGX_FISH CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/agx.fish)
  if(AGX_MAN)
    find_program(AGX_GZIP gzip REQUIRED)
    add_custom_command(
      OUTPUT ${PROJECT_BINARY_DIR}/agx.1.gz
      COMMAND ${CMAKE_COMMAND} -E copy ${AGX_MAN} ${PROJECT_BINARY_DIR}/agx.1
      COMMAND ${AGX_GZIP} -9nf ${PROJECT_BINARY_DIR}/agx.1
      DEPENDS ${AGX_MAN} VERBATIM)
    add_custom_target(agx_man ALL DEPENDS ${PROJECT_BINARY_DIR}/agx.1.gz)
    install(FILES ${PROJECT_BINARY_DIR}/agx.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
            COMPONENT tools)
  endif()
  if(AGX_BASH)
    install(FILES ${AGX_BASH} RENAME agx
            DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT tools)
  endif()
  if(AGX_ZSH)
    install(FILES ${AGX_ZSH} DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions
            COMPONENT tools)
  endif()
  if(AGX_FISH)
    install(FILES ${AGX_FISH} DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
            COMPONENT tools)
  endif()
endif()
