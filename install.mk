# Where things are installed, and how they are taken away again. Everything that is
# installed is in INSTALLED, and nothing else is: tests/install compares.

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR     ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
DATADIR    ?= $(PREFIX)/share
MANDIR     ?= $(DATADIR)/man
UNITDIR    ?= $(PREFIX)/lib/systemd/system
BASHDIR    ?= $(DATADIR)/bash-completion/completions
ZSHDIR     ?= $(DATADIR)/zsh/site-functions
FISHDIR    ?= $(DATADIR)/fish/vendor_completions.d
DESTDIR    ?=

PUBLIC := $(sort $(HEADERS) $(wildcard include/*.hpp))
PAGES  := $(wildcard man/man[1-8]/*)
SHARED := $(wildcard share/*)
PROBES := $(B)/bench/probe $(B)/bench/probe-empty

INSTALLED = $(LIBDIR)/$(notdir $(LIB)) $(LIBDIR)/$(SONAME) $(LIBDIR)/libgodlm.so $(LIBDIR)/godlm/libdlm.so \
	$(LIBDIR)/pkgconfig/godlm.pc $(PUBLIC:include/%=$(INCLUDEDIR)/%) $(BINDIR)/godlm $(UNITDIR)/godlm-agent@.service \
	$(PROBES:$(B)/bench/%=$(LIBEXECDIR)/godlm/%) $(BASHDIR)/godlm $(ZSHDIR)/_godlm $(FISHDIR)/godlm.fish \
	$(PAGES:man/%=$(MANDIR)/%) $(SHARED:share/%=$(DATADIR)/godlm/%)

# Directories that were not there before, parents first, for uninstall.
MADE = $(DATADIR)/godlm/directories

# What names installed files is made when they are, for the PREFIX of that command.
FILL = sed 's|@PREFIX@|$(PREFIX)|g; s|@LIBDIR@|$(LIBDIR)|g; s|@INCLUDEDIR@|$(INCLUDEDIR)|g; s|@BINDIR@|$(BINDIR)|g; s|@VERSION@|$(VERSION)|g'

# The dynamic linker finds a new library in its standard directories after that only.
LDCONFIG = [ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ! command -v ldconfig >/dev/null || ldconfig

.PHONY: install uninstall

install: all $(B)/bench/probe
	@list=$$(for d in $(sort $(dir $(INSTALLED) $(MADE))); do \
	  d=$${d%/}; while [ -n "$$d" ] && [ ! -d "$(DESTDIR)$$d" ]; do echo "$$d"; d=$${d%/*}; done; done | sort -u) && \
	install -d $(addprefix $(DESTDIR),$(sort $(dir $(INSTALLED) $(MADE)))) && \
	if [ -n "$$list" ]; then echo "$$list" >> $(DESTDIR)$(MADE); fi
	install -m 755 $(LIB) $(DESTDIR)$(LIBDIR)/
	ln -sf $(notdir $(LIB)) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libgodlm.so
	ln -sf ../$(SONAME) $(DESTDIR)$(LIBDIR)/godlm/libdlm.so
	for f in $(PUBLIC:include/%=%); do install -m 644 include/$$f $(DESTDIR)$(INCLUDEDIR)/$$f || exit 1; done
	$(FILL) pkgconfig/godlm.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/godlm.pc
	for f in $(PAGES:man/%=%); do install -m 644 man/$$f $(DESTDIR)$(MANDIR)/$$f || exit 1; done
	for f in $(SHARED:share/%=%); do install -m 644 share/$$f $(DESTDIR)$(DATADIR)/godlm/$$f || exit 1; done
	install -m 755 $(B)/godlm $(DESTDIR)$(BINDIR)/
	install -m 755 $(PROBES) $(DESTDIR)$(LIBEXECDIR)/godlm/
	$(FILL) systemd/godlm-agent@.service.in > $(DESTDIR)$(UNITDIR)/godlm-agent@.service
	$(B)/godlm completion bash > $(DESTDIR)$(BASHDIR)/godlm
	$(B)/godlm completion zsh > $(DESTDIR)$(ZSHDIR)/_godlm
	$(B)/godlm completion fish > $(DESTDIR)$(FISHDIR)/godlm.fish
	@$(LDCONFIG)

# With the variables that were given to install. Directories of others' stay.
uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	@made=$$(sort -ur $(DESTDIR)$(MADE) 2>/dev/null); rm -f $(DESTDIR)$(MADE); \
	for d in $$made $(LIBDIR)/godlm $(LIBEXECDIR)/godlm $(DATADIR)/godlm; do \
	  if [ -d "$(DESTDIR)$$d" ]; then rmdir --ignore-fail-on-non-empty "$(DESTDIR)$$d" || exit 1; fi; done
	@$(LDCONFIG)
