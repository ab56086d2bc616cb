GO          ?= go
PKG         ?= ./...
ARGS        ?=
FUZZTIME    ?= 30s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

.PHONY: serve
serve: deps ## serve the tools on 127.0.0.1:18890; ARGS="--config FILE" and others
	@$(GO) build -o bin/httpserver ./httpserver
	@exec bin/httpserver $(ARGS)

.PHONY: test
test: test-deps ## vet and test everything, with the race detector
	$(GO) vet $(PKG)
	$(GO) test -race -timeout 10m $(PKG)

.PHONY: check
check: test-deps ## what a change must pass: format, vet, staticcheck, tests
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w needed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet $(PKG)
	$(GO) run $(STATICCHECK) $(PKG)
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "golangci-lint is not installed: skipped"; fi
	$(GO) test -race -timeout 10m $(PKG)

.PHONY: bench
bench: deps ## run the benchmarks of all packages
	$(GO) test -run '^$$' -bench . -benchmem $(PKG)

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME
	@set -e; for pkg in $$($(GO) list $(PKG)); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: deps
deps: ## install from apt what the server needs and this machine lacks
	@scripts/deps.sh serve

.PHONY: test-deps
test-deps: ## the same for the tests
	@scripts/deps.sh test
