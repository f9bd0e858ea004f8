SHELL := bash
.DELETE_ON_ERROR:
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

BIN := $(CURDIR)/bin
MODULES := proto pkg services/system-salesforce services/system-erp services/process-customer services/experience-mobile suite
ARGS ?=
PKG ?= work
BENCH ?= .
# What contracts are compared with: the images of the last release.
BASELINE := proto/baseline

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

# --- run ---
.PHONY: demo
demo: ## Run the whole suite with sample data; ARGS="--processes --port-base 0 …"
	@go run ./suite/cmd/selfsame demo $(ARGS)

.PHONY: build
build: ## Build every binary into dist/
	mkdir -p dist && go build -o dist/ ./services/system-salesforce/cmd/... ./services/system-erp/cmd/... ./services/process-customer/cmd/... ./services/experience-mobile/cmd/... ./suite/cmd/...

SERVICES := system-salesforce system-erp process-customer experience-mobile
SERVICE ?= system-erp
ENGINE ?= $(shell command -v docker || command -v podman)
CA ?= /etc/ssl/certs/ca-certificates.crt

.PHONY: image
image: ## Build the image of SERVICE with docker or podman (ENGINE=…)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT; \
	(cd services/$(SERVICE) && CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags=-s -o "$$dir/$(SERVICE)" ./cmd/$(SERVICE)); \
	cp $(CA) "$$dir/ca-certificates.crt"; mkdir "$$dir/state"; \
	$(ENGINE) build -q -t selfsame/$(SERVICE) --build-arg SERVICE=$(SERVICE) -f deploy/docker/Dockerfile "$$dir"

.PHONY: images
images: ## Build the images of all services
	@for s in $(SERVICES); do $(MAKE) image SERVICE=$$s; done

# --- test ---
# With the race detector the compiler also checks every conversion of a pointer, which is a third of the time of a test with
# SQLite: its code, translated from C, is left out of that. That one package is left out of the detector as well, which halves
# the rest: no memory of ours is touched in it, and test-full watches it too where the database and the stores of keys are tested
# (pkg). It must be that package alone: a generic function that several packages share, sync.Map's say, is taken from any of them.
RACE_ON := -race -gcflags='modernc.org/...=-d=checkptr=0'
RACE_FAST := $(RACE_ON) -gcflags='modernc.org/sqlite/lib=-d=checkptr=0 -race=0'
# The race detector needs a C compiler; without one the fast tests still run.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),$(RACE_FAST))

.PHONY: test
test: ## Fast tests of every module (race detector on where there is a C compiler)
	@test -n "$(RACE)" || echo 'no C compiler found: testing without the race detector'
	go test $(RACE) -short -vet=off -shuffle=on -timeout 10m -p 4 $(PKG)

SKIP ?=
.PHONY: test-full
test-full: ## Every test but SKIP=regexp; SELFSAME_TEST_POSTGRES and SELFSAME_TEST_REDIS name the servers to test with
	go test $(RACE_ON) -shuffle=on -timeout 30m -p 3 -skip '$(SKIP)' ./pkg/...
	go test $(RACE_FAST) -shuffle=on -timeout 30m -p 3 -skip '$(SKIP)' $(patsubst %,./%/...,$(filter-out pkg,$(MODULES)))

.PHONY: seeds
seeds: ## Play the first 2,000 histories of the simulation, which the race detector makes too slow for test-full
	go test -count=1 -timeout 10m -run '^TestSeeds$$' ./suite/simulation

FUZZ ?= Fuzz
FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME=10s, or those whose names begin with FUZZ; what is new to the fuzzer is compiled first, for minutes
	@grep -rEo --include='*_test.go' '^func $(FUZZ)[A-Za-z0-9_]*\(f ' $(MODULES) | sed -E 's|^(.*)/[^/]*:func (.*)\(f $$|\1 \2|' | sort | \
		while read -r folder target; do \
			echo "$$folder $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "./$$folder" </dev/null || exit 1; \
		done

.PHONY: phases
phases: ## Break deliveries, erasures, changes of rules and comparisons at each of their statements (PostgreSQL: set SELFSAME_TEST_POSTGRES)
	go test -count=1 -timeout 60m -v -run '^TestPhases$$' ./services/process-customer/internal/engine -stride 1

.PHONY: bench
bench: ## Benchmarks; BENCH=regexp
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

CUSTOMERS ?= 10000,1000000
.PHONY: bench-convergence
bench-convergence: ## Measure what a change costs on both databases, write docs/benchmarks/convergence.md (needs SELFSAME_TEST_POSTGRES)
	go test -count=1 -timeout 60m -v -run '^TestCost$$' ./services/process-customer/internal/engine -page $(CURDIR)/docs/benchmarks/convergence.md -customers $(CUSTOMERS)

.PHONY: bench-erp
bench-erp: ## Measure writes of the embedded ERP against their bare statements, write docs/benchmarks/erp.md (needs SELFSAME_TEST_POSTGRES)
	@test -n "$$SELFSAME_TEST_POSTGRES" || { echo 'set SELFSAME_TEST_POSTGRES to the URL of the server'; exit 1; }
	go test -count=1 -timeout 20m -run '^TestSpeedPage$$' ./services/system-erp/internal/store/sqlstore -page $(CURDIR)/docs/benchmarks/erp.md

RECORDS ?= 100000
.PHONY: bench-sap
bench-sap: ## Count what SAP is asked for and what is held of it, write docs/benchmarks/sap.md
	go test -count=1 -timeout 60m -v -run '^TestFigures$$' ./services/system-erp/internal/sap -page $(CURDIR)/docs/benchmarks/sap.md -records $(RECORDS)

SEEDS ?= 2000
SEED ?= 0
FIRST ?= $(shell date +%s)
.PHONY: simulate
simulate: ## Play SEEDS histories of people, crashes and faults from a fresh seed; SEED=n tells one (docs/simulation.md)
	go test -count=1 -timeout 0 -v -run '^TestSeeds$$' ./suite/simulation -seeds $(SEEDS) -first $(FIRST) -story $(SEED)

.PHONY: load
load: ## Measure speed and memory of the whole suite, write docs/benchmarks/results.md
	go run ./suite/cmd/selfsame load $(ARGS)

.PHONY: bench-edge
bench-edge: ## Measure the mobile API against hand-written handlers and a stock gateway, write docs/benchmarks/results.md
	go run ./suite/cmd/selfsame load --only edge,replay,overload,fanout $(ARGS)

CONFORMANCE = $(shell grep -rl --include='*_test.go' '^func TestConformance\b' $(MODULES) | xargs -n 1 dirname | sed 's|^|./|' | sort -u)
.PHONY: conformance
conformance: ## Run every case of idempotency, write which test holds which (needs promtool, PostgreSQL and Redis: see .ci/run)
	mkdir -p $(BIN)
	go test -json $(RACE) -count=1 -timeout 20m -p 3 -run '^TestConformance$$' $(CONFORMANCE) > $(BIN)/conformance.json || { grep -h '"Output":".*\(FAIL\|Error\)' $(BIN)/conformance.json; exit 1; }
	go run ./suite/cmd/conformance -o docs/reference/idempotency-conformance.md $(BIN)/conformance.json

.PHONY: conformance-diff
conformance-diff: conformance ## Fail when the page of idempotency cases is not current
	@git diff --exit-code --stat -- docs/reference/idempotency-conformance.md || { echo 'the page differs: run make conformance and commit'; exit 1; }

CERTIFY := services/system-salesforce/certification
$(CERTIFY)/node/node_modules/.package-lock.json: $(CERTIFY)/node/package-lock.json
	cd $(CERTIFY)/node && npm ci && touch node_modules/.package-lock.json

.PHONY: certify
certify: $(CERTIFY)/node/node_modules/.package-lock.json ## Run other people's Salesforce clients against the sandbox, write the table (needs Node)
	cd $(CERTIFY) && GOWORK=off GONOSUMDB='github.com/developerforce/*' go run ./cmd/certify $(ARGS)

CERTIFY_SAP := services/system-erp/certification/node
$(CERTIFY_SAP)/node_modules/.package-lock.json: $(CERTIFY_SAP)/package-lock.json
	cd $(CERTIFY_SAP) && npm ci && touch node_modules/.package-lock.json

.PHONY: certify-sap
certify-sap: $(CERTIFY_SAP)/node_modules/.package-lock.json ## Run SAP's own JavaScript client against the S/4 sandbox, write the table (needs Node)
	mkdir -p $(BIN) && go build -o $(BIN)/s4-sandbox ./services/system-erp/cmd/s4-sandbox
	cd $(CERTIFY_SAP) && node certify.mjs $(BIN)/s4-sandbox $(CURDIR)/docs/reference/sap-clients.md

CERTIFY_CAP := services/system-erp/certification/cap
.PHONY: certify-cap
certify-cap: ## Run SAP's own server code against the SAP back end, write the table (needs Node, and SAP's licence accepted)
	@$(CERTIFY_CAP)/install
	mkdir -p $(BIN) && go build -o $(BIN)/s4-sandbox ./services/system-erp/cmd/s4-sandbox
	node $(CERTIFY_CAP)/certify.mjs $(BIN)/s4-sandbox $(CURDIR)/docs/reference/sap-cap.md $(ARGS)

.PHONY: bench-salesforce
bench-salesforce: $(CERTIFY)/node/node_modules/.package-lock.json ## Measure system-salesforce against other clients, write docs/benchmarks/salesforce.md (needs Node)
	cd $(CERTIFY) && GOWORK=off GONOSUMDB='github.com/developerforce/*' go run ./cmd/benchmark $(ARGS)

.PHONY: bench-idempotency
bench-idempotency: ## Measure what idempotency keys cost, write docs/benchmarks/idempotency.md (needs PostgreSQL and Redis)
	@test -n "$$SELFSAME_TEST_POSTGRES" -a -n "$$SELFSAME_TEST_REDIS" || { echo 'set SELFSAME_TEST_POSTGRES and SELFSAME_TEST_REDIS to the URLs of the servers'; exit 1; }
	cd pkg && GOWORK=off go run ./idempotent/keybench/cmd/keybench -out ../docs/benchmarks -dir ../.selfsame/keybench -postgres "$$SELFSAME_TEST_POSTGRES" -redis "$$SELFSAME_TEST_REDIS" $(ARGS)

DATA ?=
.PHONY: match-quality
match-quality: ## Measure matching on the sets in DATA=dir, write docs/benchmarks/matching.md
	@test -n "$(DATA)" || { echo 'say where the sets are: make match-quality DATA=dir (see docs/matching.md)'; exit 1; }
	go run ./suite/cmd/selfsame match quality --data '$(DATA)' --out docs/benchmarks/matching.md $(ARGS) > /dev/null

# --- generate ---
.PHONY: gen
gen: $(BIN)/.tools ## Generate code and OpenAPI from the contracts, and reference pages
	$(BIN)/buf generate
	$(BIN)/buf generate services/system-salesforce/internal/pubsub/eventbus --template services/system-salesforce/internal/pubsub/buf.gen.yaml
	go generate work

.PHONY: requests
requests: ## Record what the mobile API asks and answers, for the tests with the release before; refused where it means something else than recorded
	go test -count=1 -run '^TestLastRelease$$' ./services/experience-mobile -record
	go test -count=1 -run '^TestLastRelease' ./services/experience-mobile

.PHONY: baseline
baseline: contracts requests ## Record the contracts of a release, which later changes are compared with; refused if they break the last
	$(BIN)/buf build proto --path proto/selfsame -o $(BASELINE)/contracts.binpb
	cp services/experience-mobile/internal/openapi/openapi.json $(BASELINE)/openapi.json

# --- check ---
.PHONY: model
model: ## Search every state of the model of the idempotency claim (needs spin and a C compiler)
	docs/design/claim-model/check

# The cases of idempotency run once, for their page. The fast tests run as on a machine with nothing but Go: what needs a service was
# tested with it before.
.PHONY: check
check: gen-diff contracts lint modules ## Everything CI runs
	@$(MAKE) test-full SKIP='^TestConformance$$'
	@env -u CI -u SELFSAME_TEST_POSTGRES -u SELFSAME_TEST_REDIS -u SELFSAME_TEST_TRYTON $(MAKE) test
	@$(MAKE) seeds conformance-diff

.PHONY: check-fast
check-fast: contracts modules test ## The part that every commit passes

.PHONY: gen-diff
gen-diff: gen ## Fail when generated files are not the committed ones
	@git diff --exit-code --stat -- proto/gen services docs || { echo 'generated files differ: run make gen and commit'; exit 1; }
	@test -z "$$(git status --porcelain --untracked-files=all -- proto/gen)" || { git status --short -- proto/gen; exit 1; }

.PHONY: contracts
contracts: $(BIN)/.tools $(BIN)/.openapi ## Lint the contracts and refuse breaking changes
	$(BIN)/buf lint
	$(BIN)/buf build proto --path proto/selfsame -o $(BIN)/contracts.binpb
	$(BIN)/buf breaking $(BIN)/contracts.binpb --against $(BASELINE)/contracts.binpb --exclude-imports
	$(BIN)/oasdiff breaking --fail-on ERR --err-ignore $(BASELINE)/deliberate.txt $(BASELINE)/openapi.json services/experience-mobile/internal/openapi/openapi.json

OPENAPI_LINT := tools/openapi-lint
$(OPENAPI_LINT)/node_modules/.package-lock.json: $(OPENAPI_LINT)/package-lock.json
	cd $(OPENAPI_LINT) && npm ci && touch node_modules/.package-lock.json

.PHONY: openapi-lint
openapi-lint: $(OPENAPI_LINT)/node_modules/.package-lock.json ## Lint the published OpenAPI description with Spectral and Redocly (needs Node)
	cd $(OPENAPI_LINT) && npx --no-install spectral lint --ruleset spectral.yaml --fail-severity warn $(CURDIR)/services/experience-mobile/internal/openapi/openapi.json
	cd $(OPENAPI_LINT) && REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true npx --no-install redocly lint --config redocly.yaml $(CURDIR)/services/experience-mobile/internal/openapi/openapi.json

CLIENTS := services/experience-mobile/clients
$(CLIENTS)/typescript/node_modules/.package-lock.json: $(CLIENTS)/typescript/package-lock.json
	cd $(CLIENTS)/typescript && npm ci && touch node_modules/.package-lock.json

.PHONY: clients
clients: $(CLIENTS)/typescript/node_modules/.package-lock.json ## Compile and run the TypeScript client, look at the documentation page (needs Node and Chromium)
	$(CLIENTS)/check

# Node's packages, which are only waited for: .ci/run begins with them.
.PHONY: npm
npm: $(OPENAPI_LINT)/node_modules/.package-lock.json $(CLIENTS)/typescript/node_modules/.package-lock.json $(CERTIFY)/node/node_modules/.package-lock.json $(CERTIFY_SAP)/node_modules/.package-lock.json ## Install what the checks with Node need

.PHONY: lint
lint: $(BIN)/.lint ## golangci-lint, module by module
	@for m in $(MODULES); do echo "lint $$m"; (cd $$m && $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yaml ./...); done

.PHONY: fmt
fmt: $(BIN)/.lint $(BIN)/.tools ## Format Go and proto files
	@for m in $(MODULES); do (cd $$m && $(BIN)/golangci-lint fmt --config $(CURDIR)/.golangci.yaml); done
	$(BIN)/buf format -w proto/selfsame

.PHONY: modules
modules: ## Build and vet every module alone, without the workspace: the layer check
	@for m in $(MODULES); do echo "module $$m"; (cd $$m && GOWORK=off go mod tidy -diff && GOWORK=off go build -o /dev/null ./... && GOWORK=off go vet ./...) || exit 1; done

.PHONY: tidy
tidy: ## Tidy every module
	@for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy); done

# --- tools, pinned in modules of their own and built once ---
$(BIN)/.tools: tools/go.mod tools/go.sum
	cd tools && GOWORK=off GOBIN=$(BIN) go install tool && touch $@
$(BIN)/.openapi: tools/openapi/go.mod tools/openapi/go.sum
	cd tools/openapi && GOWORK=off GOBIN=$(BIN) go install tool && touch $@
$(BIN)/.lint: tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && GOWORK=off GOBIN=$(BIN) go install tool && touch $@
