# Everything a developer types. `make help` lists it.
SHELL   := /bin/bash
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
NATIVE  := $(shell $(GO) env GOOS)-$(shell $(GO) env GOARCH)
PLATFORMS := linux-amd64 linux-arm64 linux-arm linux-386 linux-riscv64 darwin-arm64 darwin-amd64
EMBED   := connection/shim/embedded
# What the shim is made of; the controller's own packages are not in it.
SHIM_SRC := $(shell find cmd/sloth-shim runner/worker runner/step runner/service runner/event lua modules facts connection -name '*.go' -not -name '*_test.go') go.mod

# What keeps the shim under its budget: HTTP/1.1 is enough for what tasks fetch
# (0.35 MB less); inlining pays in Lua, the runtime and a few small packages, and
# nowhere else (0.8 MB less; nowhere at all on macOS, whose programs are larger); x86 runs unaligned functions as well (0.25 MB less).
inlined     = $(if $(filter linux-%,$1),github.com/yuin/... internal/runtime/... runtime/... sync/... strings bytes sort)
shim_flags  = -tags nethttpomithttp2 -gcflags=all=-l $(patsubst %,-gcflags=%=,$(inlined))
align       = $(if $(filter %-amd64 %-386,$1),-funcalign=1)

GOLANGCI := v2.15.0
# Folder with the specification's inputs and the lab; tests that need it skip without.
SHARED  ?= $(wildcard ../shared)

.PHONY: help build shims native demo deps test lint gen check-gen size lab agree trips fuzz bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: shims ## bin/sloth with the shims of all platforms embedded
	$(BUILD) -ldflags '$(LDFLAGS)' -o bin/sloth ./cmd/sloth

shims: $(PLATFORMS:%=$(EMBED)/shim-%.zst) ## the embedded shims of all platforms

native: $(EMBED)/shim-$(NATIVE).zst ## bin/sloth with this platform's shim only
	$(BUILD) -ldflags '$(LDFLAGS)' -o bin/sloth ./cmd/sloth

bin/pack: cmd/sloth-gen/pack/*.go
	$(BUILD) -o $@ ./cmd/sloth-gen/pack

$(EMBED)/shim-%.zst: bin/pack $(SHIM_SRC)
	@mkdir -p bin/shims
	GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(word 2,$(subst -, ,$*)) GOARM=6 $(BUILD) $(call shim_flags,$*) -ldflags '-s -w $(call align,$*)' -o bin/shims/sloth-shim-$* ./cmd/sloth-shim
	bin/pack bin/shims/sloth-shim-$* $@

demo: native ## three throw-away SSH servers, configured twice, before your eyes
	@examples/demo.sh

deps: ## what the tests need, where apt can bring it
	@docs/ci/deps.sh

test: deps native ## all tests, with the race detector
	SLOTH_SHARED='$(abspath $(SHARED))' SLOTH_SPEC='$(if $(SHARED),$(abspath $(SHARED))/spec)' CGO_ENABLED=1 $(GO) test -race -timeout 14m ./...

lint: ## vet, format, golangci-lint
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet ./...
	@v=$$(bin/golangci-lint version 2>/dev/null); [[ $$v == *$(GOLANGCI:v%=%)* ]] || GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	bin/golangci-lint run ./...

gen: ## write what is generated: docs/modules
	$(GO) run ./cmd/sloth-gen

check-gen: gen ## fail when generated files are out of date
	git diff --exit-code -- docs/modules

size: shims ## fail when a shim is over its budget or links what it must not
	@docs/ci/size.sh $(EMBED) bin/shims

lab: native ## the sites of examples/ on booted hosts (root; needs the lab)
	@SLOTH_SHARED='$(abspath $(SHARED))' docs/ci/lab.sh

agree: native ## the same operations by Ansible and by sloth leave the same (root; needs the lab)
	@SLOTH_SHARED='$(abspath $(SHARED))' docs/ci/agree.sh

trips: native ## a hundred operations cost one round trip more than one (root; needs the lab)
	@SLOTH_SHARED='$(abspath $(SHARED))' docs/ci/trips.sh

fuzz: ## every fuzz target for a minute
	@docs/ci/fuzz.sh 60s

bench: native ## measure beside the rivals and write docs/benchmarks.md (root)
	$(GO) run ./cmd/sloth-bench

clean: ## remove what was built
	rm -rf bin dist $(EMBED)/*.zst
