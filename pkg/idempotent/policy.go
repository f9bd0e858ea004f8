package idempotent

import (
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// policy is what the contract says about a method.
type policy struct {
	protected bool // a key is claimed
	required  bool
	takeover  bool
	probe     bool
	retention time.Duration // zero: the server's default
}

// policies reads the contracts linked into the binary, each method once.
type policies struct{ cache sync.Map }

func (p *policies) of(method string) policy {
	if v, ok := p.cache.Load(method); ok {
		return v.(policy)
	}
	pol := readPolicy(method)
	p.cache.Store(method, pol)
	return pol
}

func readPolicy(method string) policy {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return policy{}
	}
	opts, ok := d.Options().(*descriptorpb.MethodOptions)
	if !ok || opts.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS ||
		!proto.HasExtension(opts, optionsv1.E_Idempotency) {
		return policy{}
	}
	o, ok := proto.GetExtension(opts, optionsv1.E_Idempotency).(*optionsv1.IdempotencyPolicy)
	if !ok || o.GetKey() == optionsv1.KeyRequirement_KEY_REQUIREMENT_NATURAL {
		return policy{}
	}
	return policy{
		protected: true,
		required:  o.GetKey() == optionsv1.KeyRequirement_KEY_REQUIREMENT_REQUIRED,
		takeover:  o.GetRecovery() == optionsv1.Recovery_RECOVERY_RECOVERABLE,
		probe:     o.GetRecovery() == optionsv1.Recovery_RECOVERY_PROBE,
		retention: o.GetRetention().AsDuration(),
	}
}
