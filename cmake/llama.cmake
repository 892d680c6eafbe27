# llama.cpp as a library: hearth_llama is an interface target with headers and libraries.
#
# Default: the prebuilt libraries of the npm package, with the headers out of the source archive in
# the same package (tools/llama-prepare puts both under build*/llama). -DHEARTH_LLAMA=<checkout>
# builds llama.cpp from source instead.
add_library(hearth_llama INTERFACE)

if(HEARTH_LLAMA)
    set(BUILD_SHARED_LIBS ON)
    set(LLAMA_BUILD_COMMON ON CACHE BOOL "" FORCE)
    set(LLAMA_BUILD_TESTS OFF CACHE BOOL "" FORCE)
    set(LLAMA_BUILD_TOOLS OFF CACHE BOOL "" FORCE)
    set(LLAMA_BUILD_EXAMPLES OFF CACHE BOOL "" FORCE)
    set(LLAMA_BUILD_SERVER OFF CACHE BOOL "" FORCE)
    add_subdirectory(${HEARTH_LLAMA} llama.cpp EXCLUDE_FROM_ALL SYSTEM)
    target_link_libraries(hearth_llama INTERFACE llama llama-common)
    target_include_directories(hearth_llama SYSTEM INTERFACE ${HEARTH_LLAMA}/common
                               ${HEARTH_LLAMA}/include ${HEARTH_LLAMA}/ggml/include)
    return()
endif()

set(llama_dir ${CMAKE_BINARY_DIR}/llama)
execute_process(COMMAND ${CMAKE_SOURCE_DIR}/tools/llama-prepare ${CMAKE_SOURCE_DIR}/node_modules
                        ${llama_dir} ${CMAKE_BINARY_DIR}/lib/hearth
                RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "llama-prepare failed:\n${output}")
endif()
target_include_directories(hearth_llama SYSTEM INTERFACE ${llama_dir}/src/common
    ${llama_dir}/src/include ${llama_dir}/src/ggml/include ${llama_dir}/src/vendor)
target_link_directories(hearth_llama INTERFACE ${CMAKE_BINARY_DIR}/lib/hearth)
target_link_libraries(hearth_llama INTERFACE llama-common -l:libllama.v0.5.0.so
    -l:libggml.v0.5.0.so ggml-base stdc++)
