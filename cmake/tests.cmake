# Tests, all found by name, so that a new one needs no edit here:
#   tests/unit/<layer>/test_*.c     each its own program, linked with that layer (and so with
#                                   everything below it)           -> unit/<layer>/test_x
#   tests/fuzz/fuzz_*.c             over its corpus, without fuzzing -> fuzz/<x>
#   tests/e2e/**/*.test.mjs         under node's test runner, with the real binary -> e2e/<...>
pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)
find_program(HEARTH_NODE NAMES node nodejs REQUIRED)

# What the sanitizers need to know; without HEARTH_SAN nobody reads it.
set(supp ${CMAKE_SOURCE_DIR}/tests)
set(san_env
    "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1"
    "LSAN_OPTIONS=suppressions=${supp}/asan.supp:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=suppressions=${supp}/tsan.supp:second_deadlock_stack=1:print_suppressions=0")
set(slower 1) # factor for time-outs
if(HEARTH_SAN)
    set(slower 5)
endif()

# hearth_test(<name> <label> <seconds> <command>...)
function(hearth_test name label seconds)
    add_test(NAME ${name} COMMAND ${ARGN})
    math(EXPR timeout "${seconds} * ${slower}")
    set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} LABELS ${label}
        ENVIRONMENT "${san_env};HEARTH_SOURCE=${CMAKE_SOURCE_DIR};HEARTH_BUILD=${CMAKE_BINARY_DIR}")
endfunction()

# A test that computes with a real model takes all cores: ggml's threads wait for each other in busy
# loops, so two such tests at once are far slower than one after the other.
cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
function(hearth_uses_a_model test source)
    file(STRINGS ${source} uses REGEX "hearth-tiny|HEARTH_BUILTIN|startHub|runHearth" LIMIT_COUNT 1)
    if(uses)
        set_tests_properties(${test} PROPERTIES PROCESSORS ${cores})
    endif()
endfunction()

function(hearth_test_program target source)
    add_executable(${target} ${source} ${ARGN})
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    target_link_libraries(${target} PRIVATE hearth_flags)
    target_compile_definitions(${target} PRIVATE HEARTH_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                               HEARTH_BINARY_DIR="${CMAKE_BINARY_DIR}")
    set_target_properties(${target} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests
        BUILD_RPATH "${CMAKE_BINARY_DIR}/lib/hearth")
endfunction()

# ---- fuzz targets ------------------------------------------------------------------------------
# With HEARTH_FUZZ they are libFuzzer programs for `make fuzz`, and nothing else is built; otherwise
# tests/fuzz/replay.c runs the corpus through them once, so that what a fuzzer has found stays fixed
# in every build.
file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
add_custom_target(fuzzers)
foreach(source IN LISTS fuzzers)
    get_filename_component(target ${source} NAME_WE)
    string(REGEX REPLACE "^fuzz_" "" name ${target})
    if(HEARTH_FUZZ)
        hearth_test_program(${target} ${source})
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
        hearth_test_program(${target} ${source} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
        hearth_test(fuzz/${name} fuzz 120 ${target} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    endif()
    target_link_libraries(${target} PRIVATE hearth_cmd)
    add_dependencies(fuzzers ${target})
endforeach()
if(HEARTH_FUZZ)
    return()
endif()

# ---- unit --------------------------------------------------------------------------------------
file(GLOB layers RELATIVE ${CMAKE_SOURCE_DIR}/tests/unit CONFIGURE_DEPENDS
     ${CMAKE_SOURCE_DIR}/tests/unit/*)
foreach(layer IN LISTS layers)
    file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${layer}/test_*.c)
    foreach(source IN LISTS tests)
        get_filename_component(name ${source} NAME_WE)
        set(target ${layer}_${name})
        hearth_test_program(${target} ${source})
        target_link_libraries(${target} PRIVATE hearth_${layer} PkgConfig::cmocka)
        hearth_test(unit/${layer}/${name} unit 120 ${target})
        # A hub in a test program can't start that program as its worker.
        set_property(TEST unit/${layer}/${name} APPEND PROPERTY ENVIRONMENT "HEARTH_IN_PROCESS=true")
        hearth_uses_a_model(unit/${layer}/${name} ${source})
    endforeach()
endforeach()

# ---- end to end --------------------------------------------------------------------------------
if(TARGET hearth)
    file(GLOB_RECURSE tests RELATIVE ${CMAKE_SOURCE_DIR}/tests/e2e CONFIGURE_DEPENDS
         ${CMAKE_SOURCE_DIR}/tests/e2e/*.test.mjs)
    foreach(file IN LISTS tests)
        string(REGEX REPLACE "\\.test\\.mjs$" "" name ${file})
        hearth_test(e2e/${name} e2e 180 ${HEARTH_NODE} --test ${CMAKE_SOURCE_DIR}/tests/e2e/${file})
        set_property(TEST e2e/${name} APPEND PROPERTY ENVIRONMENT
                     "HEARTH_BIN=$<TARGET_FILE:hearth>" "HEARTH_BINARY=$<TARGET_FILE:hearth>")
        hearth_uses_a_model(e2e/${name} ${CMAKE_SOURCE_DIR}/tests/e2e/${file})
        set_property(TEST e2e/${name} PROPERTY REQUIRED_FILES $<TARGET_FILE:hearth>)
    endforeach()
endif()
