# godlm: `make demo` shows what it does, `make check` runs all tests.
# Wants Go, gcc with GNU ld, make and python3; Go modules come through the module
# proxy that the go command is set up for.

GO      ?= go
ifeq ($(origin CC),default)
CC      := gcc
endif
CFLAGS  ?= -g -O2
PYTHON  ?= python3

VERSION := 1.0.0
SONAME  := libgodlm.so.1
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

B       := build
LIB     := $(B)/libgodlm.so.$(VERSION)

HEADERS := include/sys/dlm.h include/godlm.h
GO_SRC  := $(shell find *.go core net cgo cmd -name '*.go' ! -name '*_test.go') go.mod
C_SRC   := $(wildcard cgo/*.c cgo/*.h)
LINK    := cgo/late.ld cgo/libgodlm.map cgo/runtime.sh

# The go command does not notice changes of headers outside the package, nor of
# the linker's files: a hash of them is part of its cache key.
INPUTS_HASH := 0x$(shell cat $(HEADERS) $(C_SRC) $(LINK) | sha256sum | cut -c1-8)
EXTLDFLAGS  := -Wl,-T,$(CURDIR)/cgo/late.ld -Wl,--version-script=$(CURDIR)/cgo/libgodlm.map \
               -Wl,-soname,$(SONAME) -Wl,-z,nodelete -Wl,-z,defs
# Go's tables are full of addresses: 60,000 relocations, which the loader reads in every
# process. In the compact form (DT_RELR) they take 1.4 MB less of its memory, where the C
# library knows that form (glibc 2.36 and later).
RELR         = $(shell readelf -V "$$($(CC) -print-file-name=libc.so.6)" 2>/dev/null | grep -q GLIBC_ABI_DT_RELR && \
               $(CC) -shared -nostdlib -Wl,-z,pack-relative-relocs,--fatal-warnings -x c /dev/null -o /dev/null 2>/dev/null && \
               echo -Wl,-z,pack-relative-relocs)
GO_BUILD    := CC="$(CC)" CGO_ENABLED=1 CGO_CFLAGS="$(CFLAGS) -DGODLM_INPUTS=$(INPUTS_HASH)" $(GO) build -trimpath

# The hash stands for the link too: with another -X value it is done again.
LDFLAGS_GO   = -X main.inputs=$(INPUTS_HASH) -extldflags '$(EXTLDFLAGS) $(RELR)'

C_TESTS     := $(patsubst tests/c/%.c,$(B)/tests/%,$(wildcard tests/c/*.c))
TEST_CFLAGS := -std=gnu11 -Wall -Wextra -Wpedantic -Werror -Iinclude -Itests/c

.PHONY: all lab demo check wheel bench profile bench-rivals lint race asan fuzz deb check-deb abi clean test-go test-sim test-c test-cpp test-lib test-python test-mixed test-netns

all: $(B)/libgodlm.so $(B)/godlm

$(B)/godlm: $(GO_SRC)
	@mkdir -p $(B)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $@ ./cmd/godlm

$(LIB): $(GO_SRC) $(C_SRC) $(HEADERS) $(LINK)
	@mkdir -p $(B)
	@cgo/runtime.sh $(GO) $(B)/runtime
	$(GO_BUILD) -overlay $(B)/runtime/overlay.json -buildmode=c-shared -ldflags "$(LDFLAGS_GO)" -o $@ ./cgo
	@rm -f $(B)/*.h
	@readelf -SW $@ | grep -q go_late_init || { echo "libgodlm.so would start Go when loaded: the linker ignored cgo/late.ld (GNU ld is needed)"; rm -f $@; exit 1; }

$(B)/libgodlm.so: $(LIB)
	@ln -sf $(notdir $(LIB)) $(B)/$(SONAME)
	@ln -sf $(SONAME) $@

$(B)/tests/%: tests/c/%.c $(wildcard tests/c/*.h) $(HEADERS) $(B)/libgodlm.so
	@mkdir -p $(B)/tests
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $< -L$(B) -Wl,--as-needed -lgodlm -lpthread -ldl -Wl,-rpath,$(CURDIR)/$(B)

# The tests of godlm.hpp: in two languages, and what throws nothing also without exceptions.
CXX         ?= g++
CPP_TESTS   := $(foreach std,17 20,$(patsubst tests/cpp/%.cpp,$(B)/tests-cpp/%-$(std),$(wildcard tests/cpp/*.cpp))) \
               $(foreach t,locks processes,$(B)/tests-cpp/$(t)-noexcept)
CPP_FLAGS   := -Wall -Wextra -Wpedantic -Wshadow -Werror -Iinclude -Itests/cpp
CPP_LINK     = -L$(B) -Wl,--as-needed -lgodlm -lpthread -Wl,-rpath,$(CURDIR)/$(B)
CPP_PARTS   := tests/cpp/check.hpp include/godlm.hpp $(HEADERS)

$(B)/tests-cpp/%-17: tests/cpp/%.cpp $(CPP_PARTS) $(B)/libgodlm.so
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(CFLAGS) $(CPP_FLAGS) -o $@ $< $(CPP_LINK)

$(B)/tests-cpp/%-20: tests/cpp/%.cpp $(CPP_PARTS) $(B)/libgodlm.so
	@mkdir -p $(@D)
	$(CXX) -std=c++20 $(CFLAGS) $(CPP_FLAGS) -o $@ $< $(CPP_LINK)

$(B)/tests-cpp/%-noexcept: tests/cpp/%.cpp $(CPP_PARTS) $(B)/libgodlm.so
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -fno-exceptions $(CFLAGS) $(CPP_FLAGS) -o $@ $< $(CPP_LINK)

# The programs of tests with several hosts.
$(B)/lab/player: tests/lab/player/player.c $(HEADERS) $(B)/libgodlm.so
	@mkdir -p $(B)/lab
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $< -L$(B) -Wl,--as-needed -lgodlm -Wl,-rpath,$(CURDIR)/$(B)

lab: all $(B)/lab/player

demo: all
	@CC="$(CC)" examples/demo/run.sh

check: lint test-go test-lib test-c test-cpp test-python test-examples test-mixed test-netns

lint:
	@bad=$$(gofmt -l *.go core net cgo cmd examples tests); if [ -n "$$bad" ]; then echo "gofmt would change: $$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

GO_TESTS = $$($(GO) list ./tests/... | grep -v -e tests/netns -e tests/mixed -e tests/sim)

test-go: test-sim
	$(GO) test . ./core/... ./net/... ./cmd/... $(GO_TESTS)

# It tells what its schedules have reached.
test-sim:
	$(GO) test -count=1 -v -timeout 60m ./tests/sim

# Programs in C and in Go.
test-mixed: lab
	$(GO) test -count=1 ./tests/mixed

# By itself: on a busy machine leases of a second are lost, and tests tried again with longer ones.
test-netns: lab
	$(GO) test -count=1 -parallel 5 ./tests/netns

test-lib: all
	@CC="$(CC)" tests/lib/run.sh
	@CC="$(CC)" PYTHON="$(PYTHON)" tests/install/run.sh
	@tests/man/check.py
	@CC="$(CC)" tests/readme/run.sh

test-c: all $(C_TESTS)
	@tests/c/run.sh $(C_TESTS)

test-cpp: all $(CPP_TESTS)
	@tests/c/run.sh $(CPP_TESTS)

test-python: all
	@CC="$(CC)" tests/python/run.sh

# The programs of examples/, each named after its file, or its directory if it is Go.
EXAMPLES_C  := $(foreach f,$(filter-out examples/demo/%,$(wildcard examples/*/*.c)),$(B)/examples/$(basename $(notdir $(f))))
EXAMPLES_GO := $(foreach f,$(wildcard examples/*/main.go),$(B)/examples/$(notdir $(patsubst %/,%,$(dir $(f)))))

define EXAMPLE_C
$(B)/examples/$(basename $(notdir $(1))): $(1) $(wildcard $(dir $(1))*.h) $(HEADERS) $(B)/libgodlm.so
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(TEST_CFLAGS) -o $$@ $$< -L$(B) -lgodlm -Wl,-rpath,$(CURDIR)/$(B)
endef
$(foreach f,$(filter-out examples/demo/%,$(wildcard examples/*/*.c)),$(eval $(call EXAMPLE_C,$(f))))

$(EXAMPLES_GO): $(B)/examples/%: $(wildcard examples/*/*.go) $(GO_SRC)
	@mkdir -p $(@D)
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./examples/$*

.PHONY: test-examples
test-examples: all $(EXAMPLES_C) $(EXAMPLES_GO)
	@tests/examples/run.sh $(B)

# The Python package; into build/python.
wheel:
	$(PYTHON) -m build --wheel --no-isolation --outdir $(B)/python python

# BENCH has options of godlm bench: make bench BENCH=--json
bench: lab $(B)/bench/probe
	@CC="$(CC)" tests/bench/run.sh $(BENCH)

# Which measures; it is installed for `godlm bench`, which looks for it in libexec beside bin.
PROBE_LDFLAGS ?= '-Wl,-rpath,$$ORIGIN/..:$$ORIGIN/../../lib'
PROBE_SRC := $(wildcard tests/bench/probe/*.c)
$(B)/bench/probe: $(PROBE_SRC) $(wildcard tests/bench/probe/*.h) $(HEADERS) $(B)/libgodlm.so
	@mkdir -p $(B)/bench
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $(filter-out %/empty.c,$(PROBE_SRC)) -L$(B) -Wl,--as-needed -lgodlm -lpthread $(PROBE_LDFLAGS)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@-empty $(filter %/empty.c,$(PROBE_SRC))

# CPU profiles of the hot rows, as text.
profile: $(B)/bench/probe
	@tests/bench/profile.sh $(B)

# Side by side with lock servers, those that are installed; tests/bench/rivals/README.md.
# RIVALS has options, for example RIVALS='-only Redis -what hot'. A module of its own, so
# that their clients are none of the library's dependencies.
bench-rivals: all $(B)/bench/rivals-client
	$(GO) -C tests/bench/rivals vet ./...
	$(GO) -C tests/bench/rivals test ./...
	CGO_ENABLED=0 $(GO) -C tests/bench/rivals build -o $(CURDIR)/$(B)/bench/rivals .
	@$(B)/bench/rivals -build $(B) $(RIVALS)

$(B)/bench/rivals-client: tests/bench/rivals/client/client.c $(HEADERS) $(B)/libgodlm.so
	@mkdir -p $(B)/bench
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $< -L$(B) -Wl,--as-needed -lgodlm -Wl,-rpath,$(CURDIR)/$(B)

race:
	$(GO) test -race . ./core/... ./net/... ./cmd/... $(GO_TESTS)
	$(GO) test -race -count=1 ./tests/sim -args -schedules 300 -hostschedules 300 -containerschedules 40

asan:
	$(MAKE) B=$(B)/asan CFLAGS="-g -O1 -fsanitize=address -fno-omit-frame-pointer" \
	  GO_BUILD='CC="$(CC)" CGO_ENABLED=1 CGO_CFLAGS="-g -O1 -DGODLM_INPUTS=$(INPUTS_HASH)" $(GO) build -asan -trimpath' test-c

fuzz:
	$(GO) test -run - -fuzz FuzzParse -fuzztime 60s ./core/proto
	$(GO) test -run - -fuzz FuzzFeed -fuzztime 30s ./net/secure
	$(GO) test -run - -fuzz FuzzReceive -fuzztime 60s -fuzzminimizetime 20x ./net/views
	$(GO) test -run - -fuzz FuzzFrames -fuzztime 30s ./net/link
	$(GO) test -run - -fuzz FuzzSocket -fuzztime 30s ./net/link
	$(GO) test -run - -fuzz FuzzRead -fuzztime 30s ./core/journal
	$(GO) test -run - -fuzz FuzzHost -fuzztime 60s -fuzzminimizetime 20x ./core/host

include install.mk

# Debian packages, in build/deb. They are built from a copy of the tree, so that nothing is
# written beside it. Go is taken from the PATH, and its caches from where they are.
deb:
	@command -v dpkg-buildpackage >/dev/null || { echo "dpkg-buildpackage is not installed (Debian: dpkg-dev)"; exit 1; }
	rm -rf $(B)/deb
	mkdir -p $(B)/deb/godlm-$(VERSION)
	tar -c --exclude=./$(B) --exclude=./.git --exclude=__pycache__ . | tar -x -C $(B)/deb/godlm-$(VERSION)
	cd $(B)/deb/godlm-$(VERSION) && env -u MAKEFLAGS -u MAKELEVEL GO="$(GO)" GOCACHE="$$($(GO) env GOCACHE)" \
	  GOMODCACHE="$$($(GO) env GOMODCACHE)" GOFLAGS="$$($(GO) env GOFLAGS)" dpkg-buildpackage -b -us -uc
	rm -rf $(B)/deb/godlm-$(VERSION)
	@ls -l $(B)/deb/*.deb

# The packages on a clean Debian; wants root and a mirror.
check-deb: deb
	@tests/deb/run.sh $(B)/deb

# Records the library's interface, after something has been added to it: VERSIONING.md.
abi: all
	abidw --headers-dir include --drop-private-types --exported-interfaces-only --no-show-locs --no-corpus-path \
	  --no-comp-dir-path --type-id-style hash $(LIB) --out-file abi/$(SONAME).abi

clean:
	rm -rf $(B)
