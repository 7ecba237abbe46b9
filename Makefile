# stile. In a fresh clone on Debian 12, `make demo` and `make check` work as the first command.
#
#   make            build/stile, build/libstile.a, build/libstile.so   (needs no network)
#   make help       the other targets
#
# CC, CFLAGS, BUILD (the folder), PREFIX, DESTDIR and PYTHON may be set on the command line; V=1 shows the commands.

CC ?= cc
CFLAGS ?= -O2 -g
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
GOLDEN ?= build/golden
VENV := build/venv
PYTHON ?= $(VENV)/bin/python
CLANG_FORMAT ?= clang-format

VERSION := $(shell sed -n 's/^.define STILE_VERSION "\(.*\)"/\1/p' include/stile.h)
SONAME := libstile.so.$(firstword $(subst ., ,$(VERSION)))
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wvla -Werror
# No value-changing float optimisation: the logits are the same bits on every machine.
FLOAT := -ffp-contract=off
# Asked once, and only when something is compiled: `make demo` installs pkg-config first.
PACKAGES := jansson libcurl libpcre2-8 libutf8proc $(if $(findstring linux,$(MACHINE)),liburing)
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PACKAGES)))$(PKG_LIBS)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(CFLAGS) $(FLOAT) $(WARN) -fPIC -fvisibility=hidden -pthread -Iinclude -Isrc \
             $(PKG_CFLAGS) -MMD -MP
LIBS = $(PKG_LIBS) -lm -pthread

# Kernels and quantizers of one instruction set are the only files compiled for more than the base machine; ISA_CFLAGS
# is added there.
ifneq ($(filter x86_64%,$(MACHINE)),)
AVX2 := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
$(BUILD)/obj/src/kernel/avx2.o $(BUILD)/obj/src/kernel/avx2_%.o: ISA := $(AVX2) $(ISA_CFLAGS)
$(BUILD)/obj/src/kernel/avx512.o $(BUILD)/obj/src/kernel/avx512_%.o: ISA := $(AVX512) $(ISA_CFLAGS)
$(BUILD)/obj/src/format/encode_avx2.o: ISA := $(AVX2) $(ISA_CFLAGS)
$(BUILD)/obj/src/format/encode_avx512.o: ISA := $(AVX512) -mprefer-vector-width=512 $(ISA_CFLAGS)
endif

# The kernels alone are built for NEON with a cross compiler that has no libraries: ROOMS='base format kernel'.
ROOMS ?= *
SOURCES := $(sort $(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c src/$(room)/*/*.c)))
CLI_SOURCES := $(filter src/cli/%,$(SOURCES))
LIB_SOURCES := $(filter-out src/cli/%,$(SOURCES))
CLI_OBJECTS := $(CLI_SOURCES:%.c=$(BUILD)/obj/%.o)
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o)

TEST_SOURCES := $(sort $(wildcard tests/test_*.c))
TESTS := $(TEST_SOURCES:tests/%.c=$(BUILD)/tests/%)
# Shared by the test programs and the fuzz targets.
HELPER_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/hostile.c tests/gguf_write.c))
CHECK_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/kernel_check*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
GOLDEN_STAMPS := $(patsubst tests/golden/make_%.py,$(GOLDEN)/%.stamp,\
                   $(wildcard $(patsubst %,tests/golden/make_%.py,format tokenizer chat models folders)))

# A line for each file instead of its command.
quiet = $(if $(V),,@echo '  $(1)  $@';)

.PHONY: all demo check check-fuzz tests golden fuzzers format install uninstall clean help FORCE
.SECONDARY: # keep objects that only pattern rules name

all: $(BUILD)/stile $(BUILD)/libstile.a $(BUILD)/libstile.so

help:
	@echo 'make             build/stile, build/libstile.a, build/libstile.so'
	@echo 'make demo        install what is missing, build, fetch the default model, answer a prompt'
	@echo 'make check       install what is missing, build, run all tests (see tools/check)'
	@echo 'make check-fuzz  60 seconds of libFuzzer for each target'
	@echo 'make install     to PREFIX ($(PREFIX)); also DESTDIR. make uninstall takes it away'
	@echo 'make format      clang-format over all C files'
	@echo 'make clean       removes build/'

demo:
	@tools/install-deps build
	@$(MAKE) --no-print-directory -j$$(getconf _NPROCESSORS_ONLN) all
	@tools/fetch-model
	$(BUILD)/stile run smollm2 -p 'Why is the sky blue? Answer in two sentences.' -n 120

check:
	@tools/install-deps check
	@tools/fetch-model
	@tools/check

# ---- building ---------------------------------------------------------------------------------

# Everything depends on the flags it was built with.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) $(FUZZ)' | cmp -s - $@ || echo '$(CC) $(CFLAGS) $(FUZZ)' > $@

# One file knows the commit; it alone is compiled again when that changes. (Not the commit of a folder around this one.)
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@commit=$$(test -e .git && git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null); \
	echo "$$commit" | cmp -s - $@ || echo "$$commit" > $@
$(BUILD)/obj/src/run/version.o: $(BUILD)/commit
$(BUILD)/obj/src/run/version.o: DEFINES = -DSTILE_COMMIT='"$(shell cat $(BUILD)/commit)"'

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,cc  )$(CC) $(ALL_CFLAGS) $(ISA) $(DEFINES) -c $< -o $@

$(BUILD)/libstile.a: $(LIB_OBJECTS)
	@rm -f $@
	$(call quiet,ar  )$(AR) rcs $@ $^

$(BUILD)/libstile.so: $(LIB_OBJECTS)
	$(call quiet,link)$(CC) $(CFLAGS) -shared -Wl,-soname,$(SONAME) $^ $(LIBS) -o $@

$(BUILD)/stile: $(CLI_OBJECTS) $(BUILD)/libstile.a
	$(call quiet,link)$(CC) $(CFLAGS) $^ $(LIBS) $$(pkg-config --libs libedit) -o $@

$(BUILD)/stile.1: $(BUILD)/stile
	$< help --man > $@

# ---- tests ------------------------------------------------------------------------------------

tests: $(TESTS) $(BUILD)/kernel_check $(BUILD)/encode_check $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/make_hostile.c))

$(BUILD)/obj/tests/%.o: DEFINES := -Itests $(FUZZ)
$(BUILD)/tests/test_cli_pictures: $(patsubst %,$(BUILD)/obj/src/cli/%.o,labels roofline svg sweep_picture)
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(HELPER_OBJECTS) $(BUILD)/libstile.a
	@mkdir -p $(@D)
	$(call quiet,link)$(CC) $(CFLAGS) $^ $(LIBS) -lcmocka -o $@

$(BUILD)/kernel_check: $(CHECK_OBJECTS) $(BUILD)/libstile.a
	$(call quiet,link)$(CC) $(CFLAGS) $^ $(LIBS) -o $@

$(BUILD)/encode_check: $(BUILD)/obj/tests/encode_check.o $(BUILD)/libstile.a
	$(call quiet,link)$(CC) $(CFLAGS) $^ $(LIBS) -ldl -o $@

# FUZZ=-DFUZZ_MAIN makes programs that run a fixed seed; without it they are libFuzzer targets.
fuzzers: $(FUZZERS)

$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(HELPER_OBJECTS) $(BUILD)/libstile.a
	@mkdir -p $(@D)
	$(call quiet,link)$(CC) $(CFLAGS) $(FUZZ_LINK) $^ $(LIBS) -o $@

FUZZ_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
              -fno-sanitize-recover=all
check-fuzz:
	@tools/install-deps check
	@$(MAKE) --no-print-directory -j$$(getconf _NPROCESSORS_ONLN) fuzzers build/libfuzzer/tests/make_hostile \
	    BUILD=build/libfuzzer CC=clang \
	    CFLAGS='$(FUZZ_FLAGS)' FUZZ_LINK=-fsanitize=fuzzer
	@tools/fuzz build/libfuzzer/fuzz 60

# Golden data, made by Python peers; each script runs again when it changes.
golden: $(GOLDEN_STAMPS)

$(VENV)/stamp: tests/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(GOLDEN)/%.stamp: tests/golden/make_%.py $(wildcard tests/reference/*.py tests/golden/tokenizer_corpus.py tests/golden/chat_snippets.py) $(if $(filter $(VENV)/%,$(PYTHON)),$(VENV)/stamp)
	@mkdir -p $(@D)
	$(PYTHON) $< $(GOLDEN)
	@touch $@
$(GOLDEN)/folders.stamp: $(GOLDEN)/models.stamp

format:
	$(CLANG_FORMAT) -i $$(git ls-files '*.c' '*.h')

# ---- installing -------------------------------------------------------------------------------

INSTALL_DIR = $(DESTDIR)$(PREFIX)
SHIPPED := data/calibration.txt data/quality.txt data/tasks.jsonl data/ORIGIN.md # files that commands use
install: all $(BUILD)/stile.1
	install -d $(INSTALL_DIR)/bin $(INSTALL_DIR)/include $(INSTALL_DIR)/lib/pkgconfig $(INSTALL_DIR)/share/man/man1 \
	    $(INSTALL_DIR)/share/bash-completion/completions $(INSTALL_DIR)/share/zsh/site-functions \
	    $(INSTALL_DIR)/share/fish/vendor_completions.d $(INSTALL_DIR)/share/stile
	install -m 755 $(BUILD)/stile $(INSTALL_DIR)/bin/stile
	install -m 644 include/stile.h $(INSTALL_DIR)/include/stile.h
	install -m 644 $(BUILD)/libstile.a $(INSTALL_DIR)/lib/libstile.a
	install -m 755 $(BUILD)/libstile.so $(INSTALL_DIR)/lib/libstile.so.$(VERSION)
	ln -sf libstile.so.$(VERSION) $(INSTALL_DIR)/lib/$(SONAME)
	ln -sf $(SONAME) $(INSTALL_DIR)/lib/libstile.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(strip $(PKG_LIBS))|' tools/stile.pc.in \
	    > $(INSTALL_DIR)/lib/pkgconfig/stile.pc
	install -m 644 $(BUILD)/stile.1 $(INSTALL_DIR)/share/man/man1/stile.1
	install -m 644 $(SHIPPED) $(INSTALL_DIR)/share/stile
	$(BUILD)/stile help --completion bash > $(INSTALL_DIR)/share/bash-completion/completions/stile
	$(BUILD)/stile help --completion zsh > $(INSTALL_DIR)/share/zsh/site-functions/_stile
	$(BUILD)/stile help --completion fish > $(INSTALL_DIR)/share/fish/vendor_completions.d/stile.fish

uninstall:
	rm -f $(addprefix $(INSTALL_DIR)/,bin/stile include/stile.h lib/libstile.a lib/libstile.so.$(VERSION) \
	    lib/$(SONAME) lib/libstile.so lib/pkgconfig/stile.pc share/man/man1/stile.1 \
	    share/bash-completion/completions/stile share/zsh/site-functions/_stile \
	    share/fish/vendor_completions.d/stile.fish $(SHIPPED:data/%=share/stile/%))

clean:
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
