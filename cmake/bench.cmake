# What `make bench` needs besides the hub itself; not part of the default build.
add_subdirectory(tests/bench/http)
add_subdirectory(tests/bench/proxy)
add_subdirectory(tests/bench/queue)
add_subdirectory(tests/bench/rag)
add_subdirectory(tests/bench/extract)
add_subdirectory(tests/bench/embed)
add_subdirectory(tests/bench/rest)
add_subdirectory(tests/bench/vectors)

add_executable(gguf-random EXCLUDE_FROM_ALL tools/gguf_random/gguf_random.c
               tools/gguf_random/quant_mix.c)
target_link_libraries(gguf-random PRIVATE hearth_llama hearth_flags m)
set_target_properties(gguf-random PROPERTIES BUILD_RPATH "${CMAKE_BINARY_DIR}/lib/hearth")

add_custom_target(bench DEPENDS hearth bench_server bench_idle bench_proxy bench_queue bench_vectors bench_rag bench_embed bench_hub bench_chat bench_extract gguf-random)
