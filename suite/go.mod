module github.com/selfsame-io/selfsame/suite

go 1.26.7

replace golang.org/x/exp => golang.org/x/exp v0.0.0-20260908205506-85c1c2202aba

exclude github.com/google/pprof v0.0.0-20261016150608-1facf8f91b50

require (
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/rogpeppe/go-internal v1.16.0
	github.com/selfsame-io/selfsame/pkg v0.0.0
	github.com/selfsame-io/selfsame/proto v0.0.0
	github.com/selfsame-io/selfsame/services/experience-mobile v0.0.0
	github.com/selfsame-io/selfsame/services/process-customer v0.0.0
	github.com/selfsame-io/selfsame/services/system-erp v0.0.0
	github.com/selfsame-io/selfsame/services/system-salesforce v0.0.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.24.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

replace github.com/selfsame-io/selfsame/proto => ../proto

replace github.com/selfsame-io/selfsame/pkg => ../pkg

replace github.com/selfsame-io/selfsame/services/system-salesforce => ../services/system-salesforce

replace github.com/selfsame-io/selfsame/services/system-erp => ../services/system-erp

replace github.com/selfsame-io/selfsame/services/process-customer => ../services/process-customer

replace github.com/selfsame-io/selfsame/services/experience-mobile => ../services/experience-mobile
