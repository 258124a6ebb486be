# Foreshadow. `make help` explains every target.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN    := $(CURDIR)/bin
CACHE  := $(CURDIR)/.cache
WEB    := services/console/web
TOOLS  := -modfile=deployments/tools/go.mod
GO     ?= go
# Tests and demo find PostgreSQL here when the machine has none of its own; known only once `setup` has run.
USE_PG := pg="$$(deployments/tools/postgres.sh --print)"; [ -z "$$pg" ] || export FORESHADOW_PG_BIN="$$pg";

.PHONY: help
help: ## Explain every target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

# Long arithmetic: the race detector makes it ten times slower and has nothing to find there. What of it
# runs on several goroutines is tested with it all the same.
NUMERIC := /libs/forecast$$|/libs/forecast/evaluation$$|/libs/forecast/internal/|/libs/scaling$$|/libs/scaling/backtest$$|/libs/scaling/policy$$|/internal/probe$$

.PHONY: demo
demo: setup build ## Build everything and watch Foreshadow scale a sample shop (DEMO="--for 4m" passes flags)
	@$(USE_PG) exec $(BIN)/foreshadow demo $(DEMO)

# A program with the race detector sleeps a second before it ends: each package's tests, and each process that they start.
export GORACE ?= atexit_sleep_ms=100

# What vet would say here as well, lint says.
TEST := $(GO) test -vet=off -timeout 15m

.PHONY: test
test: setup build ## Set up what is needed and run every test
	$(TEST) $$($(GO) list ./... | grep -E '$(NUMERIC)')
	$(TEST) -race -run 'Concurrent|Cancelled|RunWrites' ./libs/forecast/... ./libs/scaling/backtest
	@$(USE_PG) $(TEST) -race $$($(GO) list ./... | grep -v /integration | grep -vE '$(NUMERIC)')
	cd $(WEB) && npm test --silent
	@$(USE_PG) FORESHADOW_BINARY=$(BIN)/foreshadow $(TEST) -count=1 ./integration/...

.PHONY: test-kafka
test-kafka: setup ## Run the tests that need a broker against a real Apache Kafka (needs Java 17 and Maven)
	@$(USE_PG) deployments/tools/kafka.sh $(GO) test -count=1 -p 1 -timeout 15m ./libs/kafka/... $$($(GO) list ./services/... | grep -v /demo)

.PHONY: test-kubernetes
test-kubernetes: build ## Build a real Kubernetes control plane (once, takes minutes) and run its tests
	@export FORESHADOW_CONTROLPLANE="$$(deployments/tools/controlplane.sh)" FORESHADOW_BINARY=$(BIN)/foreshadow FORESHADOW_AWAY=1m; \
	$(GO) test -count=1 -timeout 15m -v ./libs/platform/kubernetes/... ./integration/kubernetes && \
	(cd deployments/tools/chart && $(GO) test -count=1 ./...) && \
	$(GO) test -count=1 -timeout 15m -run 'Kubernetes|APIServer|Frozen' -v ./services/provisioner

.PHONY: build
build: console ## Build the binary into bin/
	$(GO) build -o $(BIN)/foreshadow .

.PHONY: console
console: $(WEB)/dist/index.html ## Build the web page that is embedded into the binary

WEB_SOURCES := $(shell find $(WEB) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
$(WEB)/dist/index.html: $(WEB)/node_modules/.installed $(WEB_SOURCES)
	cd $(WEB) && npm run build --silent
	@touch $@

$(WEB)/node_modules/.installed: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --silent --no-audit --no-fund
	@touch $@

.PHONY: setup
setup: ## Find or install PostgreSQL, Chromium and nginx
	@deployments/tools/postgres.sh
	@deployments/tools/chromium.sh
	@deployments/tools/nginx.sh

.PHONY: evaluate-scaling
evaluate-scaling: ## Play every CSV of a directory through all policies and summarise (TRACES=dir, SCALING="--fleets 10,40 --forecasts kept": the second run takes what is foreseen from the folder)
	$(GO) run ./ backtest --dir $(TRACES) $(SCALING)

# The folder of real series beside this repository, and the rows of the list that reach a day ahead.
SERIES ?= ../shared/traces/series
.PHONY: evaluate-day-ahead
evaluate-day-ahead: ## Forecast a day ahead from three to eight weeks of real series and summarise (SERIES=dir, EVALUATE="--origins 40")
	$(GO) run ./ evaluate --series libs/forecast/evaluation/testdata/day_ahead.csv --dir $(SERIES) $(EVALUATE)

.PHONY: lint
lint: ## Run golangci-lint, buf lint, go vet, builds for macOS and Windows and the compose file's parser
	$(GO) vet ./...
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null .
	GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null .
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	$(GO) tool $(TOOLS) buf lint proto
	$(GO) tool $(TOOLS) buf breaking proto --against proto/previous.binpb
	$(GO) tool $(TOOLS) golangci-lint run ./...
	$(GO) tool $(TOOLS) github.com/compose-spec/compose-go/v2/cmd docker-compose.yml >/dev/null

.PHONY: generate
generate: ## Regenerate the Go code of proto/ and the OpenAPI document
	$(GO) build -o $(BIN)/ google.golang.org/protobuf/cmd/protoc-gen-go
	$(GO) build $(TOOLS) -o $(BIN)/ google.golang.org/grpc/cmd/protoc-gen-go-grpc \
		github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2
	cd proto && PATH="$(BIN):$$PATH" $(GO) tool -modfile=../deployments/tools/go.mod buf generate

.PHONY: previous
previous: ## Record the API of REF as that of the previous release (make previous REF=v1.2.0)
	rm -rf $(BIN)/previous && mkdir -p $(BIN)/previous
	git archive $(or $(REF),HEAD) proto | tar x -C $(BIN)/previous
	$(GO) tool $(TOOLS) buf build $(BIN)/previous/proto --exclude-source-info -o proto/previous.binpb

.PHONY: test-upgrade
test-upgrade: setup build ## Upgrade a running stack from REF to this tree, service by service in any order, and back (REF=v1.2.0)
	rm -rf $(BIN)/previous && mkdir -p $(BIN)/previous && git archive $(or $(REF),HEAD^) | tar x -C $(BIN)/previous
	cd $(BIN)/previous && $(GO) build -o $(BIN)/foreshadow-previous .
	rm -rf $(BIN)/previous
	@$(USE_PG) FORESHADOW_BINARY=$(BIN)/foreshadow FORESHADOW_PREVIOUS=$(BIN)/foreshadow-previous $(GO) test -count=1 -v -timeout 10m -run Upgrade ./integration

.PHONY: bench
bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-predictor
bench-predictor: ## Time the forecast, the decision, a backtest of four weeks, and what a workload keeps in memory (on an idle machine)
	$(GO) test -run '^$$' -bench 'Fit4320|Observe|Memory' -benchtime 1s ./libs/forecast
	$(GO) test -run '^$$' -bench 'Decide' -benchmem ./libs/scaling
	$(GO) test -run '^$$' -bench 'Predict|Memory' ./services/predictor/internal/model
	$(GO) test -run '^$$' -bench FourWeeks -benchtime 1x ./libs/scaling/backtest

.PHONY: torture
torture: ## Feed a million hostile histories to the forecast (7 minutes of a CPU; CASES=1000 for fewer)
	FORESHADOW_FORECAST_CASES=$(or $(CASES),1000000) $(GO) test -count=1 -timeout 24h -run TestNoInputBreaksTheForecast ./libs/forecast

.PHONY: bench-shadow
bench-shadow: ## Measure the shadow-runner against servers of known capacity (BENCH="-real 3", PRIORITY="chrt -r 10" on a busy machine)
	$(GO) build -o $(BIN)/bench-shadow ./services/shadow-runner/internal/bench
	$(PRIORITY) $(BIN)/bench-shadow $(BENCH)

# The real logs that are beside this repository, where they are, and the one that is in it.
LOGS ?= services/demo/internal/trace/access.log,../shared/traces/logs/elastic_apache_combined.log,../shared/traces/logs/nielsbasjes_hackers_combined.log
.PHONY: evaluate-sampling
evaluate-sampling: ## Count how often the sample lies in the interval it states; ends with 1 below 95 % (LOGS=a.log,b.log)
	@$(GO) run ./services/replicator/internal/evaluate -logs "$(LOGS)"

.PHONY: bench-replicator
bench-replicator: setup ## Measure the tap against itself switched off and nginx's mirror, the capture, and the sample; ends with 1 on a miss
	$(GO) build -o $(BIN)/bench-replicator ./services/replicator/internal/bench
	@rc=0; $(PRIORITY) $(BIN)/bench-replicator -json $(BIN)/bench-replicator.json $(BENCH) || rc=1; \
	echo; $(MAKE) evaluate-sampling || rc=1; exit $$rc

.PHONY: bench-huge-body
bench-huge-body: ## Send a body of 10 GiB through a replicator of at most 128 MiB
	$(GO) build -o $(BIN)/bench-replicator ./services/replicator/internal/bench
	$(BIN)/bench-replicator -huge 10

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN) $(CACHE) $(WEB)/node_modules
	find $(WEB)/dist -mindepth 1 -not -name .gitkeep -delete
