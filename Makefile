# Targets: check (all tests), lint, race.
GO ?= go

.PHONY: check lint race test

check: lint test

test:
	$(GO) test ./...

lint:
	@bad=$$(gofmt -l core net cgo cmd tests 2>/dev/null); if [ -n "$$bad" ]; then echo "gofmt would change: $$bad"; exit 1; fi
	$(GO) vet ./...

race:
	$(GO) test -race ./core/... ./net/...
