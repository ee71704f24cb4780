# The only list of commands and of installed files. `make help` reads the texts behind ##.

CARGO ?= cargo
INSTALL ?= install
prefix ?= /usr/local
bindir ?= $(prefix)/bin
# Where mount(8) and umount(8) look for helpers; nowhere else.
sbindir ?= /sbin
datadir ?= $(prefix)/share
mandir ?= $(datadir)/man

.PHONY: help demo test check bench fuzz build install

help: ## Shows this.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: build ## Mounts a server that demands TLS session reuse, reads from it and says what happened. Needs FUSE.
	$(CARGO) run --release --example demo

test: ## Prepares this machine (Debian, as root) and runs every check and test.
	sh tests/setup
	$(MAKE) check
	$(CARGO) test --release

check: ## Checks format and lints.
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

bench: ## Measures listings and, across a link beside other programs, what users do; writes docs/benchmarks.md.
	$(CARGO) bench --bench listing
	FTPSFS_TEST_LONG=1 $(CARGO) bench --bench network -- $(ARGS)

fuzz: ## Builds the fuzz entry points; `cargo fuzz run list` runs one. Needs a C++ compiler.
	$(CARGO) build --manifest-path fuzz/Cargo.toml --target-dir target

build:
	$(CARGO) build --release

install: build ## Installs below $(DESTDIR)$(prefix).
	$(INSTALL) -D -m 755 target/release/ftpsfs $(DESTDIR)$(bindir)/ftpsfs
	$(INSTALL) -d $(DESTDIR)$(sbindir)
	ln -sf $(bindir)/ftpsfs $(DESTDIR)$(sbindir)/mount.ftpsfs
	ln -sf $(bindir)/ftpsfs $(DESTDIR)$(sbindir)/mount.fuse.ftpsfs
	ln -sf $(bindir)/ftpsfs $(DESTDIR)$(sbindir)/umount.fuse.ftpsfs
	$(INSTALL) -D -m 644 packaging/man/ftpsfs.8 $(DESTDIR)$(mandir)/man8/ftpsfs.8
	$(INSTALL) -D -m 644 packaging/man/mount.ftpsfs.8 $(DESTDIR)$(mandir)/man8/mount.ftpsfs.8
	$(INSTALL) -D -m 644 packaging/completions/ftpsfs.bash $(DESTDIR)$(datadir)/bash-completion/completions/ftpsfs
	$(INSTALL) -D -m 644 packaging/completions/_ftpsfs $(DESTDIR)$(datadir)/zsh/site-functions/_ftpsfs
	$(INSTALL) -D -m 644 packaging/completions/ftpsfs.fish $(DESTDIR)$(datadir)/fish/vendor_completions.d/ftpsfs.fish
