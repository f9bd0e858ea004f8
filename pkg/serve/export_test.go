package serve

import "google.golang.org/protobuf/reflect/protoreflect"

// ServiceConfig is the gRPC service config that Dial uses, for tests that read it.
func ServiceConfig(services ...protoreflect.ServiceDescriptor) (string, error) {
	return serviceConfig(services)
}

// PingEvery and PingAllowed are how often a client asks whether its connection lives, and how often it may.
const (
	PingEvery   = pingEvery
	PingAllowed = pingAllowed
)
