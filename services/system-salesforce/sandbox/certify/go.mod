module github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/certify

go 1.26.7

replace golang.org/x/exp => golang.org/x/exp v0.0.0-20260908205506-85c1c2202aba

replace github.com/selfsame-io/selfsame/services/system-salesforce => ../..

replace github.com/selfsame-io/selfsame/pkg => ../../../../pkg

replace github.com/selfsame-io/selfsame/proto => ../../../../proto

exclude github.com/google/pprof v0.0.0-20261016150608-1facf8f91b50

require (
	github.com/k-capehart/go-salesforce/v3 v3.1.0
	github.com/selfsame-io/selfsame/services/system-salesforce v0.0.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/forcedotcom/go-soql v0.0.0-20240507183026-011ceab61b9e // indirect
	github.com/go-viper/mapstructure/v2 v2.5.0 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/jszwec/csvutil v1.10.0 // indirect
	github.com/spf13/afero v1.15.0 // indirect
	github.com/twmb/avro v1.9.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261019180522-ce908d29299b // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
