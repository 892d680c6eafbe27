# Web pages in the binary. hearth_embed(<target> <symbol> <file>...) adds a generated C file to the
# target that defines `const struct asset <symbol>[]` (src/api/assets.h). A file named "gzip:<path>"
# is stored gzipped, to be sent as it is with Content-Encoding: gzip.
function(hearth_embed target symbol)
    set(out ${CMAKE_BINARY_DIR}/generated/${symbol}.c)
    set(files ${ARGN})
    list(TRANSFORM files REPLACE "^gzip:" "")
    foreach(file IN LISTS files)
        if(NOT EXISTS ${file})
            message(FATAL_ERROR "${file} is to be embedded and does not exist; "
                                "for a file of an npm package run 'make setup' (npm ci)")
        endif()
    endforeach()
    add_custom_command(OUTPUT ${out}
        COMMAND ${CMAKE_SOURCE_DIR}/tools/embed-assets ${out} ${CMAKE_BINARY_DIR}/generated ${symbol}
                ${ARGN}
        DEPENDS ${files} ${CMAKE_SOURCE_DIR}/tools/embed-assets
        COMMENT "Embedding ${symbol}" VERBATIM)
    set_source_files_properties(${out} PROPERTIES OBJECT_DEPENDS "${files}")
    target_sources(${target} PRIVATE ${out})
endfunction()

set(npm ${CMAKE_SOURCE_DIR}/node_modules)
file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/api/hub/pages/*)
get_target_property(type hearth_api TYPE)
if(NOT type STREQUAL "INTERFACE_LIBRARY")
    hearth_embed(hearth_api api_assets ${pages} gzip:${npm}/swagger-ui-dist/swagger-ui.css
        gzip:${npm}/swagger-ui-dist/swagger-ui-bundle.js gzip:${npm}/redoc/bundles/redoc.standalone.js)
endif()
