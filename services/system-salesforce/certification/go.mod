module github.com/selfsame-io/selfsame/services/system-salesforce/certification

go 1.26.7

require (
	github.com/developerforce/pub-sub-api/go v0.0.0-20240903201136-0ba470114fd8
	github.com/k-capehart/go-salesforce/v3 v3.1.0
	github.com/linkedin/goavro/v2 v2.11.0
	github.com/nimajalali/go-force v0.0.0-20200831220737-454890ee2b7c
	github.com/simpleforce/simpleforce v0.0.0-20220429021116-acf4ac67ef68
	github.com/stretchr/testify v1.12.1
	google.golang.org/grpc v1.85.0
)

require buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.2 // indirect

require (
	github.com/forcedotcom/go-soql v0.0.0-20240507183026-011ceab61b9e // indirect
	github.com/go-viper/mapstructure/v2 v2.5.0 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.0 // indirect
	github.com/golang/snappy v0.0.1 // indirect
	github.com/jszwec/csvutil v1.10.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/selfsame-io/selfsame/proto v0.0.0
	github.com/spf13/afero v1.15.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261019180522-ce908d29299b // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/selfsame-io/selfsame/proto => ../../../proto

replace golang.org/x/exp => golang.org/x/exp v0.0.0-20260908205506-85c1c2202aba

exclude github.com/google/pprof v0.0.0-20261016150608-1facf8f91b50
