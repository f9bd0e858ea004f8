module github.com/selfsame-io/selfsame/services/process-customer

go 1.26.7

replace golang.org/x/exp => golang.org/x/exp v0.0.0-20260908205506-85c1c2202aba

exclude github.com/google/pprof v0.0.0-20261016150608-1facf8f91b50

require (
	github.com/selfsame-io/selfsame/pkg v0.0.0
	github.com/selfsame-io/selfsame/proto v0.0.0
)

require (
	github.com/failsafe-go/failsafe-go v0.9.8 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261019180522-ce908d29299b // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

replace github.com/selfsame-io/selfsame/proto => ../../proto

replace github.com/selfsame-io/selfsame/pkg => ../../pkg
