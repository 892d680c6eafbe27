# Unit tests: tests/unit/<layer>/test_*.c, each its own program, linked with that layer (and so with
# everything below it). Found by name; a new test needs no edit here.
pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)

file(GLOB layers RELATIVE ${CMAKE_SOURCE_DIR}/tests/unit CONFIGURE_DEPENDS
     ${CMAKE_SOURCE_DIR}/tests/unit/*)
foreach(layer IN LISTS layers)
    file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${layer}/test_*.c)
    foreach(source IN LISTS tests)
        get_filename_component(name ${source} NAME_WE)
        set(target ${layer}_${name})
        add_executable(${target} ${source})
        target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
        target_link_libraries(${target} PRIVATE hearth_${layer} hearth_flags PkgConfig::cmocka)
        target_compile_definitions(${target} PRIVATE HEARTH_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                   HEARTH_BINARY_DIR="${CMAKE_BINARY_DIR}")
        set_target_properties(${target} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests
            BUILD_RPATH "${CMAKE_BINARY_DIR}/lib/hearth")
        add_test(NAME unit/${layer}/${name} COMMAND ${target})
        set_tests_properties(unit/${layer}/${name} PROPERTIES TIMEOUT 120)
    endforeach()
endforeach()
