# Short commands. `make test` is the gate: all that must hold before a commit is shared.

CARGO ?= cargo
PYTHON ?= python3
TARGET := $(or $(CARGO_TARGET_DIR),target)
# The client library that the conformance tests drive from Python; `pip install --target` keeps it out of the system.
PYTHON_PACKAGES := $(TARGET)/python
# The same for Node.js.
NODE_PACKAGES := $(TARGET)/node
REDIS_TOOLS := redis-server redis-cli redis-benchmark
BENCH ?= suite

# Where `make install` puts the node. DESTDIR stands before all of it, for packages.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
CONFDIR ?= /etc/slotmesh
UNITDIR ?= $(PREFIX)/lib/systemd/system
BINARY ?= $(TARGET)/release/slotmesh

PHASES := peers python node format lint build units conform epoll doc

# How many seeds `make sim` simulates, each in three kinds of runs.
SEEDS ?= 300

.PHONY: test bench nutcracker instructions sim fmt conf install uninstall $(PHASES)

test:
	@for phase in $(PHASES); do \
		start=$$(date +%s); \
		echo "==== $$phase"; \
		$(MAKE) --no-print-directory $$phase || { echo "==== $$phase FAILED"; exit 1; }; \
		echo "==== $$phase took $$(( $$(date +%s) - start )) s"; \
	done

# The real Redis: the oracle of the differential tests, and the tools that must work with us. The Debian package
# starts a service when it is installed; a policy that forbids this stands for as long as that takes.
peers:
	@missing=; for tool in $(REDIS_TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "missing:$$missing. Install redis-server 7.0 and redis-tools, for instance:" \
			"sudo apt-get install redis-server redis-tools" >&2; exit 1; \
	fi; \
	policy=/usr/sbin/policy-rc.d; made=; \
	if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' >$$policy && chmod 755 $$policy && made=$$policy; fi; \
	trap '[ -z "$$made" ] || rm -f "$$made"' EXIT; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
		redis-server redis-tools

# Where it cannot be installed, the test that needs it says so and passes.
python:
	@if [ -d $(PYTHON_PACKAGES)/redis ]; then exit 0; fi; \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target $(PYTHON_PACKAGES) redis \
		|| echo "WARNING: redis-py could not be installed; its round trip is skipped" >&2

node:
	@if [ -d $(NODE_PACKAGES)/node_modules/ioredis ]; then exit 0; fi; \
	mkdir -p $(NODE_PACKAGES) && npm install --silent --no-audit --no-fund --prefix $(NODE_PACKAGES) ioredis \
		|| echo "WARNING: ioredis could not be installed; its round trip is skipped" >&2

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# The conformance tests start this binary.
build:
	$(CARGO) build --release -p slotmesh

units:
	$(CARGO) test --workspace --exclude slotmesh-conform

# With SUITE=<a source tree of Redis>: Redis's own Tcl suite against the node instead, into bench/RESULTS.md; UNITS="…"
# runs some units and prints what failed.
conform:
ifdef SUITE
	$(CARGO) build --release -p slotmesh
	SLOTMESH_BIN=$(abspath $(TARGET))/release/slotmesh $(CARGO) run -p slotmesh-conform -- $(SUITE) $(UNITS)
else
	SLOTMESH_BIN=$(abspath $(TARGET))/release/slotmesh $(CARGO) test -p slotmesh-conform
endif

# The same on the other backend: what depends on it, and a few sequences of everything.
epoll:
	SLOTMESH_IO_BACKEND=epoll SLOTMESH_SEQUENCES=3 SLOTMESH_BIN=$(abspath $(TARGET))/release/slotmesh $(CARGO) test \
		-p slotmesh-conform --test pipelines --test atomicity --test connections --test differential --test gateway_remote

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

# twemproxy, beside which the gateway is measured. Its package starts a service as well; the same policy forbids it.
nutcracker:
	@if [ -x /usr/sbin/nutcracker ] || command -v nutcracker >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "WARNING: nutcracker is missing (sudo apt-get install nutcracker); the suite's part 'gateway' needs it" >&2; \
		exit 0; \
	fi; \
	policy=/usr/sbin/policy-rc.d; made=; \
	if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' >$$policy && chmod 755 $$policy && made=$$policy; fi; \
	trap '[ -z "$$made" ] || rm -f "$$made"' EXIT; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends nutcracker

# Measures bench/RESULTS.md; `make bench BENCH="…"` passes other arguments to the load generator.
bench: nutcracker
	$(CARGO) build --release -p slotmesh
	$(CARGO) run --release -p slotmesh-bench -- $(BENCH)

# Instructions per request in user space, counted by callgrind (which valgrind brings): what a change costs on a machine
# too noisy for times. COUNTED="redis-server --save ''" counts another server, PIPELINES="16" and ROWS="GET SET" less.
COUNTED ?= $(abspath $(TARGET))/release/slotmesh --save '' --io-backend epoll --cores 1 --shards 1
PIPELINES ?= 1 16 64
ROWS ?= GET SET INCR APPEND SETBIT GETRANGE MGET EXPIRE LPUSH LPOP LRANGE
instructions:
	@[ -n "$(findstring release/slotmesh,$(COUNTED))" ] && $(CARGO) build --release -p slotmesh; \
	port=21600; dir=$$(mktemp -d); cd $$dir; \
	valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file=out $(COUNTED) --port $$port >log 2>&1 & pid=$$!; \
	trap 'kill $$pid; wait; rm -r $$dir' EXIT; \
	until redis-cli -p $$port ping >/dev/null 2>&1; do kill -0 $$pid || { cat log; exit 1; }; sleep 0.1; done; \
	value=$$(printf '%032d' 1); key=key:__rand_int__; run="redis-benchmark -p $$port -c 10"; \
	awk -v v=$$value 'BEGIN { for (i = 0; i < 1000000; i++) \
		printf "*3\r\n$$3\r\nSET\r\n$$16\r\nkey:%012d\r\n$$32\r\n%s\r\n", i, v }' | redis-cli -p $$port --pipe >/dev/null; \
	for row in $(ROWS); do \
		keys=10000; warm=80000; \
		case $$row in \
			GET) keys=1000000; warm=10000; set -- GET $$key;; \
			SET) keys=1000000; warm=10000; set -- SET $$key $$value;; \
			GETRANGE) keys=1000000; warm=10000; set -- GETRANGE $$key 8 23;; \
			MGET) keys=1000000; warm=1000; set -- MGET $$key $$key $$key $$key $$key $$key $$key $$key $$key $$key;; \
			INCR) set -- INCR number:__rand_int__;; \
			APPEND) warm=1000; set -- APPEND text:__rand_int__ $$value;; \
			SETBIT) set -- SETBIT bits:__rand_int__ 100 1;; \
			EXPIRE) set -- EXPIRE $$key 10000;; \
			LPUSH) set -- LPUSH list:__rand_int__ $$value;; \
			LPOP) warm=1000; set -- LPOP list:__rand_int__;; \
			LRANGE) keys=100; warm=1000; $$run -r 100 -P 16 -n 30000 RPUSH long:__rand_int__ $$value >/dev/null; \
				set -- LRANGE long:__rand_int__ 0 99;; \
		esac; \
		$$run -r $$keys -P 16 -n $$warm "$$@" >/dev/null; \
		for pipeline in $(PIPELINES); do \
			callgrind_control -i on $$pid >/dev/null 2>&1; \
			$$run -r $$keys -P $$pipeline -n 20000 "$$@" >/dev/null; \
			callgrind_control -i off $$pid >/dev/null 2>&1; callgrind_control --dump $$pid >/dev/null 2>&1; \
			awk -v row=$$row -v p=$$pipeline '/^totals:/ { printf "%s P%d %d\n", row, p, $$2 / 20000 }' out.*; rm -f out.*; \
		done; \
	done

# The cluster under a simulated clock, network and disk: SEEDS seeds on all cores, each as a cluster of masters, as one whose
# hosts die and lose data and names, and as one that shows which replica takes over; a run that fails prints its seed.
sim:
	$(CARGO) run --release -p slotmesh-sim -- --seeds $(SEEDS)

# The binary (built if it is not there), the configuration unless there is one already, and the systemd unit.
install: $(BINARY)
	install -D -m 755 $(BINARY) $(DESTDIR)$(BINDIR)/slotmesh
	[ -e $(DESTDIR)$(CONFDIR)/slotmesh.conf ] || install -D -m 644 conf/slotmesh.conf $(DESTDIR)$(CONFDIR)/slotmesh.conf
	install -d $(DESTDIR)$(UNITDIR)
	sed -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@CONFDIR@|$(CONFDIR)|g' conf/slotmesh.service >$(DESTDIR)$(UNITDIR)/slotmesh.service
	chmod 644 $(DESTDIR)$(UNITDIR)/slotmesh.service

$(TARGET)/release/slotmesh:
	$(CARGO) build --release -p slotmesh

# Leaves the configuration.
uninstall:
	rm -f $(DESTDIR)$(BINDIR)/slotmesh $(DESTDIR)$(UNITDIR)/slotmesh.service

fmt:
	$(CARGO) fmt --all

# Writes conf/slotmesh.conf anew from the table of directives.
conf:
	SLOTMESH_WRITE_CONF=1 $(CARGO) test -p slotmesh-conf
