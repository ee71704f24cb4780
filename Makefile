# The only list of commands and of installed files. `make help` reads the texts behind ##.

CARGO ?= cargo
INSTALL ?= install
prefix ?= /usr/local
bindir ?= $(prefix)/bin
# Where mount(8) and umount(8) look for helpers; nowhere else.
sbindir ?= /sbin
sysconfdir ?= /etc
datadir ?= $(prefix)/share
mandir ?= $(datadir)/man
docdir ?= $(datadir)/doc/ftpsfs
unitdir ?= $(prefix)/lib/systemd/system
userunitdir ?= $(prefix)/lib/systemd/user

# The only place of the version is Cargo.toml.
version := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml)
manuals := ftpsfs.8 mount.ftpsfs.8 umount.fuse.ftpsfs.8
documents := README.md $(filter-out docs/benchmarks.%,$(wildcard docs/*.md docs/*.svg))

.PHONY: help demo test check documents bench soak fuzz build install uninstall deb rpm package-check

help: ## Shows this.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 15

demo: build ## Mounts a server that demands TLS session reuse, reads from it and says what happened. Needs FUSE.
	$(CARGO) run --release --example demo

test: ## Prepares this machine (Debian, as root) and runs every check and test.
	sh tests/setup
	$(MAKE) check
	$(CARGO) test --release
	$(MAKE) package-check

check: ## Checks format and lints.
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

documents: ## Writes anew what is made of the table of options: docs/options.md and the completions.
	FTPSFS_TEST_WRITE=1 $(CARGO) test --release --test fast documents::

bench: ## Measures listings and, across a link beside other programs, what users do; writes docs/benchmarks.md.
	$(CARGO) bench --bench listing --bench scale
	FTPSFS_TEST_LONG=1 $(CARGO) bench --bench network -- $(ARGS)

soak: ## Uses a mount for half an hour while something fails every few seconds, and compares (ARGS='--seconds 300 --seed 7').
	FTPSFS_TEST_LONG=1 $(CARGO) bench --bench soak -- $(ARGS)

fuzz: ## Builds the fuzz entry points; `cargo fuzz run list` runs one. Needs a C++ compiler.
	$(CARGO) build --manifest-path fuzz/Cargo.toml --target-dir target

deb: build ## Builds target/deb/ftpsfs_*.deb. Needs debhelper and dpkg-dev.
	sh packaging/deb $(version)

rpm: build ## Builds target/rpm/RPMS/*/ftpsfs-*.rpm. Needs rpmbuild.
	rpmbuild -bb --build-in-place --nodeps \
	    --define '_topdir $(CURDIR)/target/rpm' --define 'ftpsfs_version $(version)' --define 'packager The ftpsfs developers' \
	    packaging/rpm/ftpsfs.spec

package-check: deb rpm ## Looks for faults in both packages; installs the .deb in a clean Debian, mounts by fstab, removes it. As root.
	rpmlint -c packaging/rpm/rpmlint.toml packaging/rpm/ftpsfs.spec target/rpm/RPMS/*/ftpsfs-$(version)-*.rpm
	bash packaging/check target/deb/ftpsfs_$(version)-1_*.deb

build: ## Builds target/release/ftpsfs, and the list of its libraries' licences.
	$(CARGO) build --release --locked
	CARGO="$(CARGO)" sh packaging/licences >target/release/LICENCES.part
	mv target/release/LICENCES.part target/release/LICENCES-OF-LIBRARIES

# Only copies: root, who runs it, has often no cargo.
install: ## Installs below $(DESTDIR)$(prefix) what `make build` has built.
	@test -x target/release/ftpsfs && test -s target/release/LICENCES-OF-LIBRARIES || \
	    { echo "nothing is built yet: run \`make build\` first, as yourself, then \`sudo make install\`" >&2; exit 1; }
	$(INSTALL) -D -m 755 target/release/ftpsfs $(DESTDIR)$(bindir)/ftpsfs
	$(INSTALL) -d $(DESTDIR)$(sbindir) $(DESTDIR)$(sysconfdir)/ftpsfs $(DESTDIR)$(mandir)/man8 $(DESTDIR)$(docdir)/examples $(DESTDIR)$(unitdir) $(DESTDIR)$(userunitdir)
	for name in mount.ftpsfs mount.fuse.ftpsfs umount.fuse.ftpsfs; do ln -sf $(bindir)/ftpsfs $(DESTDIR)$(sbindir)/$$name || exit; done
	for page in $(manuals); do sed 's/@VERSION@/$(version)/' packaging/man/$$page >$(DESTDIR)$(mandir)/man8/$$page || exit; done
	ln -sf mount.ftpsfs.8 $(DESTDIR)$(mandir)/man8/mount.fuse.ftpsfs.8
	$(INSTALL) -D -m 644 packaging/completions/ftpsfs.bash $(DESTDIR)$(datadir)/bash-completion/completions/ftpsfs
	ln -sf ftpsfs $(DESTDIR)$(datadir)/bash-completion/completions/mount.ftpsfs
	$(INSTALL) -D -m 644 packaging/completions/_ftpsfs $(DESTDIR)$(datadir)/zsh/site-functions/_ftpsfs
	$(INSTALL) -D -m 644 packaging/completions/ftpsfs.fish $(DESTDIR)$(datadir)/fish/vendor_completions.d/ftpsfs.fish
	ln -sf ftpsfs.fish $(DESTDIR)$(datadir)/fish/vendor_completions.d/mount.ftpsfs.fish
	sed 's:@bindir@:$(bindir):;s:@sysconfdir@:$(sysconfdir):' packaging/systemd/ftpsfs@.service >$(DESTDIR)$(unitdir)/ftpsfs@.service
	sed 's:@bindir@:$(bindir):' packaging/systemd/user-ftpsfs@.service >$(DESTDIR)$(userunitdir)/ftpsfs@.service
	$(INSTALL) -m 644 packaging/systemd/srv-files.mount packaging/systemd/srv-files.automount $(DESTDIR)$(docdir)/examples
	$(INSTALL) -m 644 $(documents) $(DESTDIR)$(docdir)
	$(INSTALL) -m 644 target/release/LICENCES-OF-LIBRARIES $(DESTDIR)$(docdir)

uninstall: ## Removes what install installed; configuration and what could not be uploaded stay.
	rm -f $(addprefix $(DESTDIR)$(mandir)/man8/,$(manuals) mount.fuse.ftpsfs.8) $(DESTDIR)$(bindir)/ftpsfs \
	    $(addprefix $(DESTDIR)$(sbindir)/,mount.ftpsfs mount.fuse.ftpsfs umount.fuse.ftpsfs) \
	    $(addprefix $(DESTDIR)$(datadir)/bash-completion/completions/,ftpsfs mount.ftpsfs) \
	    $(DESTDIR)$(datadir)/zsh/site-functions/_ftpsfs \
	    $(addprefix $(DESTDIR)$(datadir)/fish/vendor_completions.d/,ftpsfs.fish mount.ftpsfs.fish) \
	    $(DESTDIR)$(unitdir)/ftpsfs@.service $(DESTDIR)$(userunitdir)/ftpsfs@.service
	rm -rf $(DESTDIR)$(docdir)
