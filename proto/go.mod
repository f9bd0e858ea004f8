module github.com/selfsame-io/selfsame/proto

go 1.26.7

replace golang.org/x/exp => golang.org/x/exp v0.0.0-20260908205506-85c1c2202aba

exclude github.com/google/pprof v0.0.0-20261016150608-1facf8f91b50

require google.golang.org/protobuf v1.36.12
