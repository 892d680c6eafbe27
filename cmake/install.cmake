# make install: bin/hearth finds lib/hearth and share/hearth beside itself, wherever the prefix is.
install(TARGETS hearth RUNTIME DESTINATION bin)
install(DIRECTORY ${CMAKE_BINARY_DIR}/lib/hearth/ DESTINATION lib/hearth
        FILES_MATCHING PATTERN "*.so*" PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
file(GLOB models ${CMAKE_SOURCE_DIR}/models/*.gguf ${CMAKE_SOURCE_DIR}/models/*.json)
install(FILES ${models} DESTINATION share/hearth/models)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/models/adapters DESTINATION share/hearth/models
        FILES_MATCHING PATTERN "*.gguf")

# The binary writes its own man page and completions.
set(share ${CMAKE_BINARY_DIR}/share)
add_custom_command(OUTPUT ${share}/hearth.1 ${share}/hearth.bash ${share}/_hearth
    COMMAND ${CMAKE_COMMAND} -E make_directory ${share}
    COMMAND hearth help --man > ${share}/hearth.1
    COMMAND hearth completion bash > ${share}/hearth.bash
    COMMAND hearth completion zsh > ${share}/_hearth
    DEPENDS hearth COMMENT "Writing the man page and the shell completions" VERBATIM)
add_custom_target(hearth_share DEPENDS ${share}/hearth.1)
if(NOT HEARTH_TESTS) # a build to be installed
    set_target_properties(hearth_share PROPERTIES EXCLUDE_FROM_ALL FALSE)
endif()
install(FILES ${share}/hearth.1 DESTINATION share/man/man1)
install(FILES ${share}/hearth.bash DESTINATION share/bash-completion/completions RENAME hearth)
install(FILES ${share}/_hearth DESTINATION share/zsh/site-functions)

set(npm ${CMAKE_SOURCE_DIR}/node_modules)
install(FILES LICENSE THIRD_PARTY.md DESTINATION share/doc/hearth)
install(FILES ${hearth_llama_license} DESTINATION share/doc/hearth/licenses RENAME llama.cpp)
install(FILES ${npm}/swagger-ui-dist/LICENSE DESTINATION share/doc/hearth/licenses RENAME swagger-ui)
install(FILES ${npm}/swagger-ui-dist/NOTICE DESTINATION share/doc/hearth/licenses
        RENAME swagger-ui.NOTICE)
install(FILES ${npm}/swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt
        DESTINATION share/doc/hearth/licenses RENAME swagger-ui-bundle)
install(FILES ${npm}/redoc/LICENSE DESTINATION share/doc/hearth/licenses RENAME redoc)
install(FILES ${npm}/redoc/bundles/redoc.standalone.js.LICENSE.txt
        DESTINATION share/doc/hearth/licenses RENAME redoc.standalone)
