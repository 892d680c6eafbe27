# Warnings, hardening and sanitizers, as one interface library that every target of ours links.
add_library(hearth_flags INTERFACE)

set(warnings -Wall -Wextra -Wshadow -Wpointer-arith -Wvla -Wformat=2 -Wundef)
if(HEARTH_WERROR)
    list(APPEND warnings -Werror)
endif()
set(c_warnings -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wconversion
    -Wno-sign-conversion)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND warnings -Wno-format-truncation) # cutting is what snprintf is asked for
endif()
target_compile_options(hearth_flags INTERFACE ${warnings} "$<$<COMPILE_LANGUAGE:C>:${c_warnings}>"
    -fno-common -fstack-protector-strong)
target_compile_definitions(hearth_flags INTERFACE _GNU_SOURCE HEARTH_VERSION="${PROJECT_VERSION}")
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT HEARTH_SAN)
    # The arithmetic that matters is in libllama; -O3 would only make our part larger.
    target_compile_options(hearth_flags INTERFACE -O2)
    target_compile_definitions(hearth_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_link_options(hearth_flags INTERFACE -Wl,-z,relro,-z,now -Wl,--as-needed)
endif()

if(HEARTH_SAN)
    string(REPLACE ";" "," san "${HEARTH_SAN}")
    string(REPLACE " " "," san "${san}")
    # A finding ends the program, so that a test can't pass with one.
    target_compile_options(hearth_flags INTERFACE -fsanitize=${san} -fno-sanitize-recover=all
                           -fno-omit-frame-pointer -g)
    target_link_options(hearth_flags INTERFACE -fsanitize=${san})
endif()

# libFuzzer wants its counters in every library of ours; only the fuzz targets get its main().
if(HEARTH_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "HEARTH_FUZZ needs clang: cmake --preset fuzz, or -DCMAKE_C_COMPILER=clang "
                            "-DCMAKE_CXX_COMPILER=clang++")
    endif()
    target_compile_options(hearth_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Defined for every target of ours, 0 or 1, so that -Wundef stays useful.
target_compile_definitions(hearth_flags INTERFACE HEARTH_FAULTS=$<BOOL:${HEARTH_FAULTS}>)
