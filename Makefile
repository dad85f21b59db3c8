# What a developer runs. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := bash
GO ?= go
BIN := bin
PACKAGES := ./cmd/... ./probe/... ./hops/... ./tracing/... ./scenarios/...
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE ?= probe:$(VERSION)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: build
build: ## bin/probe
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/probe ./cmd/probe

.PHONY: image
image: build ## container image probe:VERSION, from scratch (IMAGE=NAME:TAG calls it otherwise)
	tar -c -C $(CURDIR)/$(BIN) probe -C $(CURDIR)/cmd/probe Dockerfile | docker build -q -t $(IMAGE) -

.PHONY: demo
demo: ## a healthy service and a broken one, in this process: no cluster, no Docker
	@$(GO) run ./cmd/probe demo

.PHONY: test
test: fmt vet lint unit monitoring ## everything that needs no cluster

.PHONY: unit
unit: ## tests, with the race detector where there is a C compiler
	@if command -v $${CC:-cc} >/dev/null 2>&1; then race=-race; else echo "no C compiler: tests run without the race detector"; fi; \
	$(GO) test $$race $(PACKAGES)

.PHONY: fmt
fmt:
	@out=$$(gofmt -l cmd probe hops tracing scenarios kind); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi

.PHONY: vet
vet:
	@$(GO) vet $(PACKAGES)
	@$(GO) vet -tags live ./scenarios

.PHONY: lint
lint: $(BIN)/lint ## staticcheck and the import rules
	@$(BIN)/lint $(PACKAGES)

$(BIN)/lint: $(wildcard kind/lint/*)
	@$(GO) build -C kind/lint -o $(CURDIR)/$(BIN)/lint .

.PHONY: monitoring
monitoring: ## alert rules and dashboard, by Prometheus' own libraries, in a module of their own
	@$(GO) vet -C kind/monitoring ./...
	@$(GO) test -C kind/monitoring -count=1 ./... # the files lie outside that module: a cached result would not see them change

.PHONY: bench
bench: build ## benchmarks of the product, and the agent beside blackbox_exporter on the same targets
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)
	$(GO) run -C kind/compare . --probe $(CURDIR)/$(BIN)/probe

.PHONY: kind-up
kind-up: ## a real cluster with Knative, Istio, KServe and Jaeger
	kind/up

.PHONY: kind-down
kind-down: ## tear it down
	kind/down

.PHONY: kind-status
kind-status: ## what of it is healthy
	kind/status

KIND_CACHE ?= $(or $(PROBE_KIND_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/probe-kind)

.PHONY: kind-test
kind-test: build ## live tests on that cluster (PROBE_SCENARIOS=smoke: the short set of scenarios)
	KUBECONFIG=$(KIND_CACHE)/kubeconfig $(GO) test -tags live -count=1 -v -timeout 100m -run Live ./scenarios

.PHONY: kind-healthy
kind-healthy: ## more than 200 looks there at services that work: none may be called anything else
	KUBECONFIG=$(KIND_CACHE)/kubeconfig PROBE_SCENARIOS='healthy*' PROBE_LOOKS=16 $(GO) test -tags live -count=1 -v -timeout 80m -run LiveScenarios ./scenarios

.PHONY: kind-soak
kind-soak: ## half an hour of an agent there, a breakage every two minutes
	KUBECONFIG=$(KIND_CACHE)/kubeconfig $(GO) test -tags live -count=1 -v -timeout 55m -run Soak ./scenarios
