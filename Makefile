# make dev    everything in one process, with a demo page
# make test   installs what the tests need, then all tests; what CI runs
# make check  gofmt, go vet, golangci-lint (if installed) and the tests that need no server: within two minutes
# make build  bin/wcs-gateway, bin/wcs-doctor and bin/wcs-pull, static
# make image, make image-pull  the gateway and the worker, for PLATFORMS, with docker buildx; make rootfs writes its content, make sbom lists its modules
# make release  archives, Debian packages, chart, SBOM and checksums of the tag at HEAD, in bin/release
# make test-k8s  the chart against a real Kubernetes control plane
# make test-more  the long tests that no user's path needs, before a release: attacks, fuzz tests, test-k8s, test-clients, test-whip, test-long, soak, test-release
# make test-clients  all cases of clients that are not the WCS SDK in Chromium
# make attacks  what attacks cost other clients, as a table
# make soak  50 players for an hour, while the publisher's tracks change; ARGS="-for 5m -players 10": less
# make bench, make fuzz, make lint, make vuln

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TESTTIMEOUT ?= 20m
FUZZTIME    ?= 30s
GOVULNCHECK := v1.9.0
PLATFORMS   ?= linux/amd64,linux/arm64
IMAGE       ?= wcs-gateway:$(VERSION)
CA_CERTS    ?= /etc/ssl/certs/ca-certificates.crt

GOBUILD = -ldflags '-s -w -X main.version=$(VERSION)'

# What make test compiles without the race detector, and what a release consists of, is compiled in one way: on a new
# machine each further one takes minutes.
PLAIN := CGO_ENABLED=0 GOFLAGS="$$(go env GOFLAGS) -trimpath"

# A program with the race detector would wait a second at its end for reports of goroutines that still run.
RACE := GORACE=atexit_sleep_ms=100 go test -race -ldflags=-w -vet=off -count=1 -timeout $(TESTTIMEOUT)

# How many packages make test tests at a time. Their tests wait for a large part.
PACKAGES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

PROGRAMS := ./cmd/wcs-gateway ./cmd/wcs-doctor ./cmd/wcs-pull

# The stock WebSDK, for the demo page and the browser tests.
SDK := cmd/wcs-dev/node_modules/.package-lock.json e2e/browser/node_modules/.package-lock.json

.PHONY: docs dev check test test-browser test-more test-texts test-deploy test-k8s test-clients test-whip test-long build check-format check-links bench attacks soak fuzz fuzz-keep lint vuln setup rootfs rootfs-pull rootfs-verify image image-pull sbom release test-release
.NOTPARALLEL: # prerequisites are steps, from left to right

# make dev ARGS="--page-port 9000 --ws-port 0": other ports; --help lists all.
dev: cmd/wcs-dev/node_modules/.package-lock.json
	@echo 'Compiling the gateway and LiveKit; the first time takes minutes. Packages that are done:'
	@go build -v -o .cache/wcs-dev ./cmd/wcs-dev
	@.cache/wcs-dev $(ARGS)

# The inner loop: two minutes on two cores with a warm cache. Tests that need LiveKit, Redis or a browser are skipped.
check: check-format
	go vet ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo 'check: golangci-lint is not installed, skipped'; fi
	go test -short -timeout $(TESTTIMEOUT) ./...

# Writes the generated tables of docs/ and of the chart, the example configuration and its JSON schema, which the tests compare with the code.
docs:
	go test -count=1 -run 'EverySetting|MetricsTable|RESTTables' ./cmd/internal/config ./gateway ./gateway/rest -update
	cd deploy/tests && go test -count=1 -run TableOfValues . -update

check-format:
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted" >&2; exit 1; fi

# -count=1: the tests of e2e run binaries that go test does not track, so its cache would hide changes.
# -vet=off: go vet has looked at everything before, and without the race detector its results are those of make check.
# -ldflags=-w: without the tables for debuggers, 60 test programs are linked in two thirds of the time.
# The SDK sees a bad quality when its browser waits for the processor. So only tests that do not depend on time run beside
# those with a browser, with a lower priority.
test: setup $(SDK) build check-links
	$(PLAIN) go vet ./...
	$(PLAIN) go build -o bin/livekit-server github.com/livekit/livekit-server/cmd/server # minutes on a new machine: not inside a test
	$(RACE) -p $(PACKAGES) -skip '$(SLOW)' $$(go list $(FIRST) ./... | grep -v e2e/browser | grep -v $(patsubst .%,-e '%$$',$(TEXTS)))
	@nice -n 19 $(MAKE) --no-print-directory test-texts & texts=$$!; \
	$(MAKE) --no-print-directory test-browser; browser=$$?; \
	wait $$texts && exit $$browser

# Packages that take longest. ./e2e keeps both processors busy, as do ./e2e/faults and ./e2e/pull: it is not beside these.
FIRST := ./state ./translate/livekit ./cmd/wcs-pull/source ./e2e ./gateway ./e2e/attacks

test-browser:
	$(RACE) ./e2e/browser

test-texts: test-deploy
	$(PLAIN) go test -vet=off -count=1 -run Alloc ./gateway ./gateway/socket # the race detector allocates, too
	$(PLAIN) go test -vet=off -count=1 -run '$(SLOW)' ./gateway/hooks ./translate/wcs ./cmd/internal/config ./cmd/internal/app
	$(PLAIN) go test -vet=off -count=1 $(TEXTS)

# Tests of documents and imports start no goroutines, nor do those that compare thousands of generated messages and
# configurations. With the race detector they take up to 20 times as long.
TEXTS := ./cmd/internal/arch ./docs
SLOW  := JSONParse|SchemaAcceptsValid|ValidConfigurationCanBeBuilt

# The chart, the compose file, the systemd unit, the image, alerts and dashboard: a separate module, because of Helm.
test-deploy: setup
	cd deploy/tests && export $(PLAIN) && go vet ./... && go vet -tags controlplane ./... && go test -vet=off -count=1 -timeout $(TESTTIMEOUT) ./...

# The chart against a real control plane with simulated machines. Not part of make test: the first build takes 7 minutes
# and 3 GB of build cache, the test 4 minutes.
K8S_VERSION := v1.36.3
K8S_STAMP    = -X k8s.io/component-base/version.gitVersion=$(K8S_VERSION) -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36

test-k8s:
	cd deploy/k8s && go build -ldflags '$(K8S_STAMP)' -o ../../bin/k8s/ k8s.io/kubernetes/cmd/kube-apiserver \
		k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kube-scheduler go.etcd.io/etcd/server/v3
	cd deploy/k8s/kwok && go build -o ../../../bin/k8s/kwok sigs.k8s.io/kwok/cmd/kwok
	cd deploy/tests && go test -tags controlplane -count=1 -timeout $(TESTTIMEOUT) -run TestControlPlaneAcceptsChart -v .

# Before a release; about two hours. Each part can be run alone.
test-more: attacks fuzz test-k8s test-clients test-whip test-long soak test-release

# Firefox, pages from files, GStreamer and aiortc: half a minute. make test has one short case of each.
test-clients: setup $(SDK)
	go test -count=1 -timeout $(TESTTIMEOUT) ./e2e/clients -args -more

# What make test runs with plays over signalling, with plays by WHIP: streams, faults, browsers and other clients.
test-whip: setup $(SDK)
	WCS_LIVEKIT_PLAY=whip go test -count=1 -timeout $(TESTTIMEOUT) ./e2e ./e2e/browser ./e2e/faults ./e2e/clients

# What make test has for a shorter time, with fewer clients or with fewer versions of the SDK: media of another server through
# the gateway for 30 s; outages of Redis of a minute, in which it hangs for 20 s, and with old data after it; clients whose writes
# block; 100,000 sessions; an upgrade with 300; the SDK's quality for 30 s and on a narrow path; calls without each of the
# browser's codecs; all calls through the splice and with two servers; a conference whose pod is killed; pages of the
# console and the player at every width in both colours; and all mutants of the model.
test-long: setup $(SDK)
	go test -count=1 -v -p 1 -timeout $(TESTTIMEOUT) -run '$(LONG)' ./state ./e2e ./e2e/faults ./e2e/browser -args -more
LONG := TestModelFindsMutants|TestIdlePodSends|TestMediaOfSplicedSocket|TestMediaOfHybridSession|TestRESTListsMany|TestRoomContinuesWithEmptyRedis|TestRedisAway|TestOldDataOfRedis|TestHangingRedisEnds|TestStalledClients|TestRollingUpgrade|TestSDKReportsPerfectQuality|TestSDKNoticesBadPath|TestConsoleShows|TestPlayerOnNarrowPath|TestEmbeddedPlayer|TestClientsWorkInChromium|TestConferenceExample|TestSDKPublishesAndPlaysOnBothServers|TestSDKPublishesAndPlaysThroughSplice|TestSDKRecords|TestSDKReportsRoomEvents

soak: setup
	go test -count=1 -v -timeout 90m ./e2e/soak -args -for 1h $(ARGS)

setup:
	.ci/setup

%/node_modules/.package-lock.json: %/package-lock.json
	npm ci --no-audit --no-fund --prefix $*
	touch $@

build:
	$(PLAIN) go build $(GOBUILD) -o bin/ $(PROGRAMS)

# The image's content for GOOS and GOARCH, and a tar file of it: the same bytes for the same tree, version, Go and
# certificate authorities.
ROOTFS := bin/rootfs

rootfs:
	rm -rf $(ROOTFS)
	mkdir -p $(ROOTFS)/etc/ssl/certs
	CGO_ENABLED=0 go build -trimpath -buildvcs=false $(GOBUILD) -o $(ROOTFS)/wcs-gateway ./cmd/wcs-gateway
	cp LICENSE $(ROOTFS)/LICENSE
	sh deploy/release/notices ./cmd/wcs-gateway >$(ROOTFS)/NOTICES
	cp $(CA_CERTS) $(ROOTFS)/etc/ssl/certs/ca-certificates.crt
	echo 'nonroot:x:65532:65532::/:/sbin/nologin' >$(ROOTFS)/etc/passwd
	echo 'nonroot:x:65532:' >$(ROOTFS)/etc/group
	find $(ROOTFS) -type f -exec chmod 0644 {} +
	find $(ROOTFS) -type d -exec chmod 0755 {} +
	chmod 0755 $(ROOTFS)/wcs-gateway
	find $(ROOTFS) -exec touch -h -d @0 {} +
	tar -cf bin/rootfs.tar --format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C $(ROOTFS) .

# What the worker's image has besides Debian's ffmpeg.
rootfs-pull:
	rm -rf bin/rootfs-pull
	mkdir -p bin/rootfs-pull/usr/local/bin bin/rootfs-pull/usr/share/doc/wcs-pull
	CGO_ENABLED=0 go build -trimpath -buildvcs=false $(GOBUILD) -o bin/rootfs-pull/usr/local/bin/wcs-pull ./cmd/wcs-pull
	cp LICENSE bin/rootfs-pull/usr/share/doc/wcs-pull/LICENSE
	sh deploy/release/notices ./cmd/wcs-pull >bin/rootfs-pull/usr/share/doc/wcs-pull/NOTICES
	chmod -R u=rwX,go=rX bin/rootfs-pull

# Builds twice with empty caches, which takes minutes, and compares.
rootfs-verify:
	@for run in first second; do \
		cache=$$(mktemp -d); \
		GOCACHE=$$cache $(MAKE) --no-print-directory rootfs VERSION=$(VERSION) >/dev/null; failed=$$?; \
		chmod -R u+w "$$cache" && rm -rf "$$cache"; \
		[ $$failed = 0 ] || exit 1; \
		sha256sum bin/rootfs.tar; \
	done | tee bin/rootfs.sums; \
	[ "$$(sort -u bin/rootfs.sums | wc -l)" = 1 ] && [ "$$(wc -l <bin/rootfs.sums)" = 2 ]

image:
	docker buildx build --platform $(PLATFORMS) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg HOME_URL=$(HOME_URL) --build-arg GO_DIGEST=$(GO_DIGEST) -t $(IMAGE) $(BUILDX) .

# The worker's image, as make image.
image-pull: IMAGE := $(if $(filter command line environment,$(origin IMAGE)),$(IMAGE),wcs-pull:$(VERSION))
image-pull:
	docker buildx build --target wcs-pull --platform $(PLATFORMS) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg HOME_URL=$(HOME_URL) --build-arg GO_DIGEST=$(GO_DIGEST) -t $(IMAGE) $(BUILDX) .

# CycloneDX list of the modules in the binary.
sbom: rootfs
	cd deploy/sbom && go tool cyclonedx-gomod bin -json -noserial -licenses -version $(VERSION) -output ../../bin/wcs-gateway.cdx.json ../../$(ROOTFS)/wcs-gateway

# What a release consists of, from the tag at HEAD (v1.2.3), or with VERSION=1.2.3 from any tree. The same bytes for the same
# tree, version and Go. HOME_URL is where the project is published.
RELEASE  := bin/release
ARCHES   ?= amd64 arm64
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
HOME_URL ?= https://wcs-gateway.example

release:
ifneq ($(origin VERSION),command line)
	@[ -z "$$(git status --porcelain)" ] || { echo 'release: the tree has changes' >&2; exit 1; }
	@tag=$$(git describe --exact-match --tags --match 'v[0-9]*' 2>/dev/null) || { echo 'release: HEAD has no tag v1.2.3; VERSION=1.2.3 builds without' >&2; exit 1; }; \
	exec $(MAKE) --no-print-directory release VERSION="$${tag#v}"
else
	rm -rf $(RELEASE) bin/release.build
	@set -e; export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct); \
	stamp=$$(date -u -d "@$$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ); \
	(cd deploy/sbom && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o ../../bin/release.build/ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod); \
	for arch in $(ARCHES); do \
		echo "release: $(VERSION) for linux/$$arch"; build=bin/release.build/$$arch; mkdir -p $$build; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false $(GOBUILD) -o $$build/ $(PROGRAMS); \
		GOOS=linux GOARCH=$$arch sh deploy/release/notices $(PROGRAMS) >$$build/NOTICES; \
		sh deploy/release/package $(VERSION) $$arch $$build $$build/NOTICES $(RELEASE); \
		for program in wcs-gateway wcs-pull; do \
			sbom=$(RELEASE)/$$program-$(VERSION)-linux-$$arch.cdx.json; \
			bin/release.build/cyclonedx-gomod bin -json -noserial -version $(VERSION) -output $$sbom $$build/$$program 2>/dev/null; \
			sed -i "s/\"timestamp\": \"[^\"]*\"/\"timestamp\": \"$$stamp\"/" $$sbom; \
		done; \
	done; \
	HOME_URL=$(HOME_URL) sh deploy/release/chart $(VERSION) $(RELEASE); \
	rm -rf bin/release.build; cd $(RELEASE); sha256sum * >SHA256SUMS; cat SHA256SUMS
endif

# Builds a release twice, the second time with another umask and time zone, and compares. The first build for arm64 takes minutes.
test-release:
	$(MAKE) --no-print-directory release VERSION=0.0.0-test
	mv $(RELEASE)/SHA256SUMS bin/release.sums
	umask 077; TZ=Asia/Tokyo $(MAKE) --no-print-directory release VERSION=0.0.0-test
	cmp bin/release.sums $(RELEASE)/SHA256SUMS

# The SFU and the embedded Redis belong to cmd/wcs-dev only.
check-links:
	@linked=$$(go list -deps ./cmd/wcs-gateway) || exit 1; \
	if echo "$$linked" | grep -E 'livekit/livekit-server|alicebob/miniredis'; then \
		echo 'cmd/wcs-gateway links the packages above and must not' >&2; exit 1; \
	fi

# make bench ARGS="-only publish,memory -json results.json" runs some measurements and writes the results as JSON.
bench: setup $(SDK)
	go test -run '^$$' -bench . -benchtime 1x -timeout $(TESTTIMEOUT) ./e2e/bench -args $(ARGS)
	go test -run '^$$' -bench Worst -benchtime 0.5s ./translate ./translate/wcs ./gateway/hooks
	go test -run '^$$' -bench . -benchtime 1x ./cmd/wcs-pull/source

# Without the race detector, which would dominate the results. About 20 minutes; ARGS="-measure 1s -rounds 2": less.
attacks: setup
	go test -count=1 -v -timeout 1h ./e2e/attacks -args -measure 2s -rounds 5 $(ARGS)

# Runs each fuzz test for FUZZTIME, with the corpus of earlier runs. make fuzz-keep stores the new corpus.
CORPUS = .ci/fuzz-corpus.tar.gz

fuzz:
	mkdir -p "$$(go env GOCACHE)/fuzz" && tar -xzf $(CORPUS) -C "$$(go env GOCACHE)/fuzz"
	@for package in $$(go list ./translate/... ./gateway/... ./state/...); do \
		for test in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$test"; \
			go test -run '^$$' -fuzz "^$$test\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

# Known vulnerabilities of called code. Needs access to the Go vulnerability database.
vuln:
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./cmd/wcs-gateway ./cmd/wcs-pull

fuzz-keep:
	tar -czf $(CORPUS) --sort=name --owner=0 --group=0 --mtime=@0 -C "$$(go env GOCACHE)/fuzz" wcsgateway

lint: check-format
	go vet ./...
	@command -v golangci-lint >/dev/null || { echo 'golangci-lint is missing' >&2; exit 1; }
	golangci-lint run
