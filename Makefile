# stile: `make demo` and `make check` work as the first command in a fresh clone on Debian 12.

CC ?= cc
BUILD ?= build
PREFIX ?= /usr/local
PYTHON ?= $(BUILD)/venv/bin/python

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wvla -Werror
# No value-changing float optimisation: the logits are the same bits on every machine.
FLOAT := -ffp-contract=off
CFLAGS ?= -O2 -g
PACKAGES := jansson libpcre2-8 libutf8proc
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(CFLAGS) $(FLOAT) $(WARN) -fPIC -fvisibility=hidden -pthread -Iinclude -Isrc \
             $(shell pkg-config --cflags $(PACKAGES)) -MMD -MP
LIBS = $(shell pkg-config --libs $(PACKAGES)) -lm -pthread
