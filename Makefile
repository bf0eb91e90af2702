# Kappa. One plain file. `make help` lists the targets.
#
#   make              the binary, build/release/kappa          make SAN=address,undefined   with sanitizers
#   make check        everything the tests need, see below     make V=1                     show commands

SAN     ?=
empty   :=
comma   := ,
VARIANT := $(if $(SAN),$(subst $(comma),-,$(SAN)),release)
B       := build/$(VARIANT)

CC      ?= gcc
CXX     ?= g++
PYTHON  ?= /usr/bin/python3
CLANG_FORMAT ?= clang-format-14
CLANG_TIDY   ?= clang-tidy-14

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
  -Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla \
  -Wswitch-enum -Wimplicit-fallthrough -Wdouble-promotion -Walloca
WARN_GCC := -Wduplicated-cond -Wlogical-op -Wnull-dereference
IS_GCC   := $(shell $(CC) --version | grep -qi 'gcc\|GCC' && echo yes)
WARNINGS := $(WARN) $(if $(IS_GCC),$(WARN_GCC)) $(if $(WERROR),-Werror)

# Position-independent, since libkappa.so takes the same objects; without interposition it costs nothing.
OPT     := -O2 -g -fPIC -fno-semantic-interposition -ffp-contract=off -fno-omit-frame-pointer -fstack-protector-strong $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
CFLAGS  := -std=c11 -D_GNU_SOURCE -I. $(WARNINGS) $(OPT) -pthread
CXXFLAGS := -std=c++17 -I. -Wall -Wextra $(OPT) -pthread -fno-exceptions -fno-rtti
# The runtime of libFuzzer is inside the program and has to be seen.
PROGRAM_MAP := $(if $(findstring fuzzer,$(SAN)),,-Wl$(comma)--version-script=base/program.map)
LDFLAGS := $(if $(SAN),-fsanitize=$(SAN),-Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now) -pthread $(PROGRAM_MAP)
# Folders, lowest first: a folder may use those before it (see docs/ARCHITECTURE.md).
FOLDERS := base log processor table replayer serve library controller cli

SRC_base       := $(wildcard base/*.c)
SRC_log        := $(wildcard log/*.c)
SRC_processor  := $(wildcard processor/*.c processor/*.cc)
SRC_table      := $(wildcard table/*.c)
SRC_replayer   := $(wildcard replayer/*.c)
SRC_serve      := $(wildcard serve/*.c)
SRC_library    := $(wildcard library/*.c)
SRC_controller := $(wildcard controller/*.c)
SRC_cli        := $(filter-out cli/main.c,$(wildcard cli/*.c))

obj = $(patsubst %,$(B)/%.o,$(1))
define archive
# The folder itself, so that a file that went away goes from the archive too.
$(B)/lib$(1).a: $(call obj,$(SRC_$(1))) $(1)
	$(Q)rm -f $$@ && ar rcs $$@ $$(filter %.o,$$^)
endef

# Archives and libraries for each folder's programs, dependents first.
LIBS_EXT_base      := -ljansson -lxxhash -lm
LIBS_EXT_log       := -lrdkafka -lzstd $(LIBS_EXT_base)
LIBS_EXT_processor := -lpg_query -lsimdjson -lstdc++ -lutf8proc -lpcre2-8 -lnettle $(LIBS_EXT_base)
LIBS_EXT_table     := -llmdb $(LIBS_EXT_base)
LIBS_EXT_all       := -lpg_query -lsimdjson -lstdc++ -lutf8proc -lpcre2-8 -lrdkafka -lzstd -llmdb -luv -lmicrohttpd -lnettle -lcurl -lsqlite3 -ledit -lz $(LIBS_EXT_base)
A = $(foreach f,$(1),$(B)/lib$(f).a)
LINK_base       = $(call A,base) $(LIBS_EXT_base)
LINK_log        = $(call A,log base) $(LIBS_EXT_log)
LINK_processor  = $(call A,processor base) $(LIBS_EXT_processor)
LINK_table      = $(call A,table base) $(LIBS_EXT_table)
LINK_replayer   = $(call A,replayer table processor log base) $(LIBS_EXT_all)
LINK_serve      = $(call A,serve table processor log base) $(LIBS_EXT_all)
LINK_library    = $(call A,library serve table processor log base) $(LIBS_EXT_all)
LINK_controller = $(call A,controller replayer serve table processor log base) $(LIBS_EXT_all)
LINK_cli        = $(call A,cli controller replayer serve table processor log base) $(LIBS_EXT_all)
archives = $(filter %.a,$(1))

Q := $(if $(V),,@)
SAY = @printf '  %-7s %s\n'

.PHONY: all
all: $(B)/kappa $(B)/bench/events
$(foreach f,$(FOLDERS),$(eval $(call archive,$(f))))

$(B)/kappa: $(B)/cli/main.c.o $(call archives,$(LINK_cli))
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LINK_cli)

# Objects made with other flags are made anew.
$(B)/flags: ALWAYS
	@mkdir -p $(@D)
	@echo '$(OPT)' | cmp -s - $@ || echo '$(OPT)' > $@
.PHONY: ALWAYS
ALWAYS:

$(B)/%.c.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/%.cc.o: %.cc $(B)/flags
	@mkdir -p $(@D)
	$(SAY) CXX $<
	$(Q)$(CXX) $(CXXFLAGS) -MMD -MP -c -o $@ $<

# These files are in the binary as they are (base/embed.h).
$(B)/serve/dashboard.c.o: $(wildcard serve/dashboard/*) serve/openapi.json
$(B)/cli/topics.c.o: $(wildcard docs/help/*)
$(B)/cli/cmd_init.c.o: $(wildcard cli/project/* cli/project/*/*)

# ---- Unit tests: tests/unit/<folder>/test_*.c, each a program that links the folder and those below it.
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
UNIT_RUN := $(addsuffix .run,$(UNIT_BIN))
.PHONY: $(UNIT_RUN)
$(UNIT_RUN): %.run: %
	$(SAY) TEST $<
	$(Q)timeout 1200 $<
define unit_rule
$(B)/tests/unit/$(1)/%: $(B)/tests/unit/$(1)/%.c.o $$(call archives,$$(LINK_$(1)))
	$$(SAY) LINK $$@
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$< $$(LINK_$(1)) -lcmocka
.PHONY: unit-$(1)
unit-$(1): $$(filter $(B)/tests/unit/$(1)/%,$$(UNIT_RUN))
endef
$(foreach f,$(FOLDERS),$(eval $(call unit_rule,$(f))))
.PHONY: unit
unit: $(foreach f,$(FOLDERS),unit-$(f))

# ---- Tools that are not the product: generators, oracles, micro benchmarks. bench/X.c -> build/.../bench/X
BENCH_BIN := $(patsubst %.c,$(B)/%,$(wildcard bench/*.c))
$(B)/bench/%: $(B)/bench/%.c.o $(call archives,$(LINK_controller) $(B)/liblibrary.a)
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(B)/liblibrary.a $(LINK_controller)

# ---- Tools of tests that drive a part of the product from outside. tests/tool/X.c -> build/.../tests/tool/X
TOOL_BIN := $(patsubst %.c,$(B)/%,$(wildcard tests/tool/*.c))
$(B)/tests/tool/%: $(B)/tests/tool/%.c.o $(call archives,$(LINK_processor))
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(LINK_processor)

# ---- Fuzz targets: tests/fuzz/fuzz_X.c with its corpus tests/fuzz/corpus/X. `make check` replays the corpora through
# them; `make fuzz` runs each for FUZZ_SECONDS under libFuzzer (clang-14, libclang-rt-14-dev), with sanitizers.
FUZZ_SECONDS ?= 60
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(patsubst %.c,$(B)/%,$(FUZZ_SRC))
LIBFUZZER := $(findstring fuzzer-no-link,$(SAN))
$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.c.o $(if $(LIBFUZZER),,$(B)/tests/fuzz/replay.c.o) $(call archives,$(LINK_serve))
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) $(if $(LIBFUZZER),-fsanitize=fuzzer) -o $@ $(filter %.o,$^) $(LINK_serve)
.PHONY: fuzz fuzz-replay fuzz-bin
fuzz-bin: $(FUZZ_BIN)
fuzz-replay: $(FUZZ_BIN)
	$(Q)for t in $(FUZZ_BIN); do timeout 1200 $$t tests/fuzz/corpus/$${t##*/fuzz_}/* > $$t.log || { cat $$t.log; exit 1; }; done
fuzz:
	$(Q)$(MAKE) CC=clang-14 CXX=clang++-14 SAN=fuzzer-no-link,address,undefined fuzz-bin
	$(Q)for f in $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_SRC)); do \
	  b=build/fuzzer-no-link-address-undefined/tests/fuzz; mkdir -p $$b/found_$$f; \
	  $$b/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=4096 -dict=tests/fuzz/sql.dict \
	    -artifact_prefix=$$b/ -print_final_stats=1 $$b/found_$$f tests/fuzz/corpus/$$f || exit 1; done

# ---- Simulator: the platform in one thread. make sim SEED=1 RUNS=1000; with -j the seeds go to four processes.
SEED ?= 1
RUNS ?= 200
SIM_RUN := sim.0 sim.1 sim.2 sim.3
$(B)/tests/sim/sim: $(call obj,$(wildcard tests/sim/*.c)) $(call archives,$(LINK_controller))
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LINK_controller)
.PHONY: sim $(SIM_RUN)
sim: $(SIM_RUN)
$(SIM_RUN): sim.%: $(B)/tests/sim/sim
	$(Q)first=$$(($(RUNS) * $* / 4)) end=$$(($(RUNS) * ($* + 1) / 4)); \
	  [ $$first = $$end ] || $< --seed $$(($(SEED) + first)) --runs $$((end - first))

# ---- What needs no Python, with sanitizers and without: one pool of jobs, so that no core waits for the last of a part.
.PHONY: unit-sim unit-sim-san
unit-sim: unit-sim-san unit sim
unit-sim-san:
	+$(Q)$(MAKE) SAN=address,undefined WERROR= SEED=100001 RUNS=60 unit sim

# ---- Data races: the unit tests of what has threads, under ThreadSanitizer.
.PHONY: tsan
tsan:
	+$(Q)TSAN_OPTIONS="suppressions=$(abspath tests/tsan.supp) history_size=4" \
	  $(MAKE) SAN=thread WERROR= $(addprefix unit-,base table replayer serve library controller)

# ---- The source checked
TRACKED_C = $(shell git ls-files '*.c' '*.h' '*.cc')
$(B)/tests/tidy: tests/tidy.c base/base.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $^
.PHONY: tidy fmt fmt-check lint docs docs-check
tidy: $(B)/tests/tidy $(B)/libprocessor.a
	$(Q)$< $(TRACKED_C)
	$(Q)sh tests/purity.sh $(B)/processor
fmt:
	$(Q)$(CLANG_FORMAT) -i $(TRACKED_C)
fmt-check:
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(TRACKED_C)
lint:
	$(Q)for f in $$(git ls-files '*.c' | grep -v '^tests/\|^bench/\|^examples/'); do echo $$f; done | \
	  xargs -P 2 -n 1 sh -c '$(CLANG_TIDY) --quiet "$$@" -- -std=c11 -D_GNU_SOURCE -I. 2>/dev/null || exit 255' sh
docs: $(B)/kappa
	$(Q)$< help --markdown > docs/COMMANDS.md
	$(Q)$< help --metrics > docs/METRICS.md
	$(Q)$< help --functions > docs/FUNCTIONS.md
docs-check: $(B)/kappa
	$(Q)$< help --markdown | diff -u docs/COMMANDS.md - && $< help --metrics | diff -u docs/METRICS.md - && \
	  $< help --functions | diff -u docs/FUNCTIONS.md - || \
	  { echo 'docs/ is older than the commands, metrics or functions: run make docs'; exit 1; }
	$(Q)for name in $$($< help | sed -n 's/^  \([a-z][a-z-]*\).*/\1/p' | grep -vx kappa | sort -u); do $< help $$name; done | \
	  awk 'length($$0) > 80 {print "help is wider than 80 columns: " $$0; wide = 1} END {exit wide}'

# ---- Tests. System tests drive the real binary; on the embedded log, and on a real Kafka that they start.
PYTEST = $(PYTHON) -m pytest -q -p no:cacheprovider $(PYTEST_ARGS)
.PHONY: system check test bench demo install help
system: $(B)/kappa $(B)/bench/events $(B)/tests/unit/log/test_log_kafka $(B)/tests/unit/log/test_log_sender $(TOOL_BIN) $(if $(SAN),,lib)
	$(Q)KAPPA_LIB=$(abspath $(B)/libkappa.so.0) KAPPA_BIN=$(abspath $(B)/kappa) KAPPA_EVENTS=$(abspath $(B)/bench/events) \
	  KAPPA_TOOLS=$(abspath $(B)/tests/tool) $(PYTEST) tests/system
check: tidy fmt-check docs-check fuzz-replay
test:
	+$(Q)sh tests/all.sh

bench: $(B)/kappa $(BENCH_BIN)
	$(Q)KAPPA_BIN=$(abspath $(B)/kappa) BENCH_DIR=$(abspath $(B)/bench) $(PYTHON) bench/run.py $(BENCH_ARGS)
demo: $(B)/kappa $(B)/bench/events
	$(Q)KAPPA_BIN=$(abspath $(B)/kappa) KAPPA_EVENTS=$(abspath $(B)/bench/events) \
	  $(PYTHON) examples/replay-fix/demo.py $(if $(KAFKA),--kafka $(KAFKA)) $(DEMO_ARGS)

# The README's commands and docker/Dockerfile in empty Debian 12 roots: as root, needs mmdebstrap (and systemd-container for the unit), minutes.
.PHONY: fresh
fresh:
	$(Q)$(PYTHON) tests/fresh.py $(FRESH_ARGS)

# ---- libkappa: rows of tables for other programs (include/kappa/reader.h). Shared: libkappa.so.0 exports kappa_* alone.
# Static: one object, in which all other names are local. Both stand on LIBS_EXT_library.
LIBS_EXT_library := -lpg_query -lsimdjson -lstdc++ -lutf8proc -lpcre2-8 -lnettle -llmdb $(LIBS_EXT_base)
LIB_OBJ     = $(call obj,$(SRC_library))
LIB_BELOW   = $(call A,serve table processor base)
LIB_VERSION = $(shell sed -n 's/.*KAPPA_VERSION "\(.*\)"/\1/p' include/kappa/version.h)
.PHONY: lib wheel
lib: $(B)/libkappa.so.0 $(B)/libkappa.a
$(B)/libkappa.so.0: $(LIB_OBJ) $(LIB_BELOW) library/libkappa.map
	$(SAY) LINK $@
	$(Q)$(CC) -shared -pthread $(if $(SAN),-fsanitize=$(SAN),-Wl$(comma)-z$(comma)defs$(comma)-z$(comma)relro$(comma)-z$(comma)now) -Wl,-soname,libkappa.so.0 -Wl,-z,nodelete \
	  -Wl,--version-script=library/libkappa.map -o $@ $(LIB_OBJ) $(LIB_BELOW) $(LIBS_EXT_library)
	$(Q)ln -sf libkappa.so.0 $(B)/libkappa.so
$(B)/libkappa.a: $(LIB_OBJ) $(LIB_BELOW)
	$(SAY) AR $@
	$(Q)ld -r --force-group-allocation -o $(B)/libkappa.o $(LIB_OBJ) $(LIB_BELOW)
	$(Q)objcopy -w --keep-global-symbol='kappa_*' $(B)/libkappa.o
	$(Q)rm -f $@ && ar rcs $@ $(B)/libkappa.o
# A pure Python wheel; it finds libkappa.so.0 where the system's linker does, or by KAPPA_LIB.
wheel:
	$(Q)rm -rf $(B)/python && mkdir -p $(B) && cp -r bindings/python $(B)/python
	$(Q)cd $(B)/python && $(PYTHON) -c 'from setuptools import build_meta; build_meta.build_wheel("..")' > ../wheel.log
	@ls $(B)/kappa_reader-*.whl

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
SHAREDIR ?= $(PREFIX)/share
COMPLETIONS := bash-completion/completions/kappa zsh/vendor-completions/_kappa fish/vendor_completions.d/kappa.fish
# Inside the repository headers are written "include/kappa/X.h"; installed they are <kappa/X.h>, so that line is changed.
PUBLIC_HEADERS = $(wildcard $(addprefix include/kappa/,reader.h row.h plugin.h record.h))
install: $(B)/kappa lib
	install -D -m 755 $(B)/kappa $(DESTDIR)$(PREFIX)/bin/kappa
	install -d $(DESTDIR)$(SHAREDIR)/man/man1 $(addprefix $(DESTDIR)$(SHAREDIR)/,$(dir $(COMPLETIONS)))
	$(B)/kappa help --man > $(DESTDIR)$(SHAREDIR)/man/man1/kappa.1
	$(foreach f,$(COMPLETIONS),$(B)/kappa completion $(firstword $(subst /, ,$(subst -, ,$(f)))) > $(DESTDIR)$(SHAREDIR)/$(f) &&) true
	install -D -m 755 $(B)/libkappa.so.0 $(DESTDIR)$(LIBDIR)/libkappa.so.0
	ln -sf libkappa.so.0 $(DESTDIR)$(LIBDIR)/libkappa.so
	install -D -m 644 $(B)/libkappa.a $(DESTDIR)$(LIBDIR)/libkappa.a
	install -d $(DESTDIR)$(PREFIX)/include/kappa $(DESTDIR)$(LIBDIR)/pkgconfig
	for h in $(PUBLIC_HEADERS); do sed 's|#include "include/kappa/\(.*\)"|#include <kappa/\1>|' $$h \
	  > $(DESTDIR)$(PREFIX)/include/kappa/$${h##*/} || exit 1; done
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(LIB_VERSION)|; s|@PRIVATE@|$(LIBS_EXT_library)|' library/kappa.pc.in \
	  | sed 's|^libdir=.*|libdir=$(LIBDIR)|' > $(DESTDIR)$(LIBDIR)/pkgconfig/kappa.pc
# Debian packages into build/deb, of what is committed. Needs debhelper and lintian; the version is the changelog's.
.PHONY: deb
deb:
	$(Q)rm -rf build/deb && mkdir -p build/deb/kappa && git archive HEAD | tar -x -C build/deb/kappa
	$(Q)mv build/deb/kappa/docker/debian build/deb/kappa/debian
	$(Q)cd build/deb/kappa && grep -q "($(LIB_VERSION))" debian/changelog && dpkg-buildpackage --build=binary -us -uc
	$(Q)cd build/deb && lintian --fail-on error,warning *.changes && ls *.deb
help:
	@sed -n '3,6s/^# \{0,1\}//p' Makefile
	@echo 'all unit-FOLDER unit sim system check test tsan fuzz fresh bench demo fmt lint tidy docs lib wheel install deb clean'

.PRECIOUS: $(B)/%.c.o $(B)/%.cc.o $(B)/tests/unit/%
.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
