# make dev    everything in one process, with a demo page
# make test   installs what the tests need, then all tests; what CI runs
# make build  bin/wcs-gateway, static
# make attacks  what attacks cost other clients, as a table
# make bench, make fuzz, make lint, make vuln

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TESTTIMEOUT ?= 20m
FUZZTIME    ?= 30s
GOVULNCHECK := v1.9.0

# The stock WebSDK, for the demo page and the browser tests.
SDK := cmd/wcs-dev/node_modules/.package-lock.json e2e/browser/node_modules/.package-lock.json

.PHONY: dev test build check-links bench attacks fuzz fuzz-keep lint vuln setup
.NOTPARALLEL: # prerequisites are steps, from left to right

# make dev ARGS="--page-port 9000 --ws-port 0": other ports; --help lists all.
dev: cmd/wcs-dev/node_modules/.package-lock.json
	go run ./cmd/wcs-dev $(ARGS)

# -count=1: the tests of e2e run binaries that go test does not know of, so its cache would hide their changes.
test: setup $(SDK) build check-links
	go vet ./...
	go build -o bin/livekit-server github.com/livekit/livekit-server/cmd/server # minutes on a new machine: not inside a test
	go test -race -count=1 -timeout $(TESTTIMEOUT) $$(go list ./... | grep -v e2e/browser)
	go test -race -count=1 -timeout $(TESTTIMEOUT) ./e2e/browser # by itself: a browser that waits for the processor shows bad quality

setup:
	.ci/setup

%/node_modules/.package-lock.json: %/package-lock.json
	npm ci --no-audit --no-fund --prefix $*
	touch $@

build:
	CGO_ENABLED=0 go build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/wcs-gateway ./cmd/wcs-gateway

# The SFU and the embedded Redis belong to cmd/wcs-dev.
check-links:
	@linked=$$(go list -deps ./cmd/wcs-gateway) || exit 1; \
	if echo "$$linked" | grep -E 'livekit/livekit-server|alicebob/miniredis'; then \
		echo 'cmd/wcs-gateway links the packages above and must not' >&2; exit 1; \
	fi

# make bench ARGS="-only publish,memory -json results.json": some measures, and the results as JSON.
bench: setup $(SDK)
	go test -run '^$$' -bench . -benchtime 1x -timeout $(TESTTIMEOUT) ./e2e/bench -args $(ARGS)

# Without the race detector, which would be most of what is measured.
attacks: setup
	go test -count=1 -v ./e2e/attacks -args -measure 2s -rounds 5

# Every fuzz test for FUZZTIME, from what earlier runs have found. make fuzz-keep keeps what this one has.
CORPUS = .ci/fuzz-corpus.tar.gz

fuzz:
	mkdir -p "$$(go env GOCACHE)/fuzz" && tar -xzf $(CORPUS) -C "$$(go env GOCACHE)/fuzz"
	@for package in $$(go list ./translate/... ./gateway/... ./state/...); do \
		for test in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$test"; \
			go test -run '^$$' -fuzz "^$$test\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

# Known vulnerabilities of what is called; needs to reach the Go vulnerability database.
vuln:
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./cmd/wcs-gateway

fuzz-keep:
	tar -czf $(CORPUS) --sort=name --owner=0 --group=0 --mtime=@0 -C "$$(go env GOCACHE)/fuzz" wcsgateway

lint:
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted" >&2; exit 1; fi
	go vet ./...
	@command -v golangci-lint >/dev/null || { echo 'golangci-lint is missing' >&2; exit 1; }
	golangci-lint run
