# The front door. CMake and Ninja do the building (CMakePresets.json); this file sets up what is
# missing first, so that each command works on a fresh Debian 12. `make help` lists the targets.

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
KILLS ?= 100
HUB_KILLS ?= 50
SOAK_SECONDS ?= 600
TEST_JOBS ?= 2

# SAN=address test: the same tests under a sanitizer, in a build folder of its own.
SAN ?=
preset_ := test
preset_address := asan
preset_undefined := ubsan
preset_thread := tsan
preset_address,undefined := asan-ubsan
preset := $(preset_$(SAN))
ifeq ($(preset),)
$(error SAN=$(SAN) is not known; it may be address, undefined, thread or address,undefined)
endif

.DEFAULT_GOAL := all
.PHONY: all run test check setup bench soak torture faults privacy evals fuzz install format generate clean help

all: ## Build Hearth (release) into build/; the default
	@tools/setup
	@tools/build release

run: all ## Set up, build and start the hub; ARGS="--port 9000" passes options on
	@exec build/hearth serve $(ARGS)

test: ## Set up, build and run all tests; T=<regex> picks some, SAN=address|undefined|thread
	@tools/setup test
	@tools/build $(preset)
	@cd build-$(preset) && ctest -j$(TEST_JOBS) --output-on-failure --no-label-summary \
	    $(if $(T),-R "$(T)")

check: ## Format, layers, lengths, dead globals, headers, generated files, clang, cppcheck, ...
	@tools/setup check
	@tools/build test all hearth-gen
	@tools/check/run build-test

setup: ## Install all that any target needs: Debian packages (apt), npm packages
	@tools/setup all

bench: setup ## Measure: start-up, HTTP layer, and speed beside llama-server on the same library
	@tools/setup bench
	@tools/build release bench
	@tools/bench/run $(ARGS)

evals: all ## Ask the golden set, and the labelled questions about documents, and print the scores
	@tools/setup test
	@HEARTH_BIN=build/hearth node evals/golden.mjs
	@HEARTH_BIN=build/hearth node evals/retrieval.mjs

soak: ## Let 64 clients use everything at once for SOAK_SECONDS (600), on a ThreadSanitizer build
	@tools/setup test
	@tools/build tsan hearth
	@HEARTH_BIN=build-tsan/hearth TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp:second_deadlock_stack=1:print_suppressions=0 \
	    node tests/soak/soak.mjs --seconds $(SOAK_SECONDS)

torture: all ## Kill the model worker KILLS (100) times under load: nothing may be lost
	@node tests/torture/kills.mjs --kills $(KILLS) --binary build/hearth

faults: all ## Kill the hub HUB_KILLS (50) times under use, on both databases; take disk, database and Chroma away
	@tools/setup test faults
	@node tests/fault/kills.mjs --kills $(HUB_KILLS) --binary build/hearth
	@node tests/fault/gone.mjs --binary build/hearth

privacy: ## Run all tests where each packet that leaves is counted, all hubs pinned: none may; T=<regex>
	@tools/setup test
	@tools/build $(preset)
	@node tests/privacy/suite.mjs build-$(preset) $(T)

fuzz: ## Fuzz each parser for FUZZ_SECONDS (60); FUZZ=<name> picks one
	@tools/setup fuzz
	@tools/build fuzz fuzzers
	@tools/fuzz build-fuzz $(FUZZ_SECONDS) $(FUZZ)

install: all ## Install under PREFIX (/usr/local); DESTDIR= for packagers
	@DESTDIR="$(DESTDIR)" cmake --install build --prefix "$(PREFIX)"

format: ## Format the sources as .clang-format says
	@tools/setup check
	@tools/check/format --fix

generate: ## Write the generated documentation anew (tools/gen/generated.txt)
	@tools/setup test
	@tools/build test hearth-gen
	@tools/check/generated build-test --fix

clean: ## Remove every build folder
	rm -rf build build-*

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
