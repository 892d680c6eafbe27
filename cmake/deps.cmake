# Debian's libraries, through pkg-config. tools/setup installs them; keep the two lists alike.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson>=2.14)
pkg_check_modules(curl REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(microhttpd REQUIRED IMPORTED_TARGET libmicrohttpd>=0.9.75)
pkg_check_modules(edit REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(md4c REQUIRED IMPORTED_TARGET md4c)
