# llama.cpp as a library: hearth_llama is an interface target with headers and libraries, and
# ${CMAKE_BINARY_DIR}/lib/hearth is the folder that holds the shared libraries, beside the binary.
#
# Default: the prebuilt libraries of the npm package, with the headers out of the source archive in
# the same package (tools/llama-prepare puts both into the build folder). -DHEARTH_LLAMA=<checkout>
# compiles a llama.cpp checkout instead, for CUDA, Metal, Vulkan or this machine's own CPU; its
# options are llama.cpp's (-DGGML_CUDA=ON ...). The release must be the one that src/engine is
# written for.
add_library(hearth_llama INTERFACE)

if(HEARTH_LLAMA)
    get_filename_component(llama_src "${HEARTH_LLAMA}" ABSOLUTE BASE_DIR "${CMAKE_SOURCE_DIR}")
    if(NOT EXISTS "${llama_src}/include/llama.h")
        message(FATAL_ERROR "HEARTH_LLAMA=${HEARTH_LLAMA} is no llama.cpp checkout: "
                            "there is no include/llama.h in it")
    endif()
    set(BUILD_SHARED_LIBS ON)
    foreach(part TESTS TOOLS EXAMPLES SERVER APP UI)
        set(LLAMA_BUILD_${part} OFF CACHE BOOL "" FORCE)
    endforeach()
    set(LLAMA_BUILD_COMMON ON CACHE BOOL "" FORCE)
    set(LLAMA_OPENSSL OFF CACHE BOOL "" FORCE) # its own downloader, which Hearth never calls
    add_subdirectory(${llama_src} ${CMAKE_BINARY_DIR}/llama.cpp EXCLUDE_FROM_ALL SYSTEM)

    # Its libraries land where the prebuilt ones would, and find each other there.
    function(hearth_collect_libraries dir)
        get_property(targets DIRECTORY ${dir} PROPERTY BUILDSYSTEM_TARGETS)
        foreach(target IN LISTS targets)
            get_target_property(type ${target} TYPE)
            if(type MATCHES "^(SHARED|MODULE)_LIBRARY$")
                set_target_properties(${target} PROPERTIES
                    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/hearth
                    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN")
                # The CPU and GPU backends may be loaded at run time, so nothing links them.
                add_dependencies(hearth_llama_libraries ${target})
            endif()
        endforeach()
        get_property(children DIRECTORY ${dir} PROPERTY SUBDIRECTORIES)
        foreach(child IN LISTS children)
            hearth_collect_libraries(${child})
        endforeach()
    endfunction()
    add_custom_target(hearth_llama_libraries)
    hearth_collect_libraries(${llama_src})
    add_dependencies(hearth_llama hearth_llama_libraries)

    target_link_libraries(hearth_llama INTERFACE llama-common llama ggml)
    target_include_directories(hearth_llama SYSTEM INTERFACE ${llama_src}/common
        ${llama_src}/include ${llama_src}/ggml/include ${llama_src}/vendor)
    set(hearth_llama_license ${llama_src}/LICENSE)
    return()
endif()

set(llama_dir ${CMAKE_BINARY_DIR}/llama)
execute_process(COMMAND ${CMAKE_SOURCE_DIR}/tools/llama-prepare ${CMAKE_SOURCE_DIR}/node_modules
                        ${llama_dir} ${CMAKE_BINARY_DIR}/lib/hearth
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "tools/llama-prepare failed:\n${output}")
endif()
# An npm package of another version configures again, and so prepares again.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/node_modules/node-llama-cpp/package.json
    ${CMAKE_SOURCE_DIR}/tools/llama-prepare)
target_include_directories(hearth_llama SYSTEM INTERFACE ${llama_dir}/src/common
    ${llama_dir}/src/include ${llama_dir}/src/ggml/include ${llama_dir}/src/vendor)
target_link_directories(hearth_llama INTERFACE ${CMAKE_BINARY_DIR}/lib/hearth)
target_link_libraries(hearth_llama INTERFACE llama-common -l:libllama.v0.5.0.so
    -l:libggml.v0.5.0.so ggml-base stdc++)
set(hearth_llama_license ${llama_dir}/src/LICENSE)
