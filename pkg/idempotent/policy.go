package idempotent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// policy is what the contract says about a method.
type policy struct {
	read          bool // no side effects
	protected     bool // a key is claimed
	required      bool
	natural       bool // a key is only passed on
	takeover      bool
	probe         bool
	transactional bool // nothing is claimed if the store is in the transaction of the effect
	anywhere      bool // and if it is not, a claim will do
	reject        bool // no waiting
	successOnly   bool
	retention     time.Duration // zero: the server's default
	wait          time.Duration // zero: the server's default
	durability    Durability
	exclude       exclusion
	answers       answerType
}

// policies reads the contracts linked into the binary, each method once.
type policies struct{ cache sync.Map }

func (p *policies) of(method string) *policy {
	if v, ok := p.cache.Load(method); ok {
		return v.(*policy) //nolint:forcetypeassert // holds nothing else
	}
	pol := readPolicy(descriptorOf(method))
	p.cache.Store(method, pol)
	return pol
}

// descriptorOf finds a full gRPC method in the contracts linked into the binary; nil if it is not there.
func descriptorOf(method string) protoreflect.MethodDescriptor {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	md, _ := d.(protoreflect.MethodDescriptor)
	return md
}

// declared returns what a method declares: whether it only reads, and its policy.
func declared(md protoreflect.MethodDescriptor) (read bool, o *optionsv1.IdempotencyPolicy) {
	opts, ok := md.Options().(*descriptorpb.MethodOptions)
	if !ok || opts == nil {
		return false, nil
	}
	if proto.HasExtension(opts, optionsv1.E_Idempotency) {
		o, _ = proto.GetExtension(opts, optionsv1.E_Idempotency).(*optionsv1.IdempotencyPolicy)
	}
	return opts.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS, o
}

func readPolicy(md protoreflect.MethodDescriptor) *policy {
	if md == nil {
		return &policy{}
	}
	read, o := declared(md)
	if read || o == nil {
		return &policy{read: read}
	}
	switch o.GetKey() {
	case optionsv1.KeyRequirement_KEY_REQUIREMENT_NATURAL:
		return &policy{natural: true}
	case optionsv1.KeyRequirement_KEY_REQUIREMENT_NONE:
		return &policy{}
	}
	exclude, _ := parseExclusions(md.Input(), o.GetFingerprintExclude()) // Lint refuses what cannot be parsed
	p := &policy{
		protected:     true,
		required:      o.GetKey() == optionsv1.KeyRequirement_KEY_REQUIREMENT_REQUIRED,
		takeover:      o.GetRecovery() == optionsv1.Recovery_RECOVERY_RECOVERABLE || o.GetRecovery() == optionsv1.Recovery_RECOVERY_TRANSACTIONAL,
		transactional: o.GetRecovery() == optionsv1.Recovery_RECOVERY_TRANSACTIONAL || o.GetInTransaction(),
		anywhere:      o.GetInTransaction(),
		probe:         o.GetRecovery() == optionsv1.Recovery_RECOVERY_PROBE,
		reject:        o.GetInFlight() == optionsv1.InFlight_IN_FLIGHT_REJECT,
		successOnly:   o.GetKeptOutcomes() == optionsv1.KeptOutcomes_KEPT_OUTCOMES_SUCCESS,
		retention:     o.GetRetention().AsDuration(),
		wait:          o.GetWait().AsDuration(),
		durability:    demanded(o),
		exclude:       exclude,
	}
	if o.GetPermanent() {
		p.retention = Forever
	}
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(md.Output().FullName()); err == nil {
		p.answers = answerType{string(md.Output().FullName()), mt}
	}
	return p
}

// demanded is the durability a policy needs. Where an attempt may not simply be repeated, a forgotten claim would
// execute twice.
func demanded(o *optionsv1.IdempotencyPolicy) Durability {
	switch o.GetDurability() {
	case optionsv1.Durability_DURABILITY_VOLATILE:
		return Volatile
	case optionsv1.Durability_DURABILITY_REPLICATED:
		return Replicated
	case optionsv1.Durability_DURABILITY_DURABLE:
		return Durable
	}
	switch o.GetRecovery() {
	case optionsv1.Recovery_RECOVERY_RECOVERABLE, optionsv1.Recovery_RECOVERY_TRANSACTIONAL:
		return Volatile
	default:
		return Durable
	}
}

// Lint returns what is wrong with the policies of a contract: a method that changes something and does not say what a
// key means, a read that says it, a stream that promises what streams cannot keep.
func Lint(file protoreflect.FileDescriptor) []error {
	var errs []error
	for i := range file.Services().Len() {
		methods := file.Services().Get(i).Methods()
		for j := range methods.Len() {
			if err := lint(methods.Get(j)); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", methods.Get(j).FullName(), err))
			}
		}
	}
	return errs
}

func lint(md protoreflect.MethodDescriptor) error {
	read, o := declared(md)
	switch {
	case read && o != nil:
		return errors.New("it has no side effects, so a key means nothing")
	case read:
		return nil
	case o == nil:
		return errors.New("it may change something and has no idempotency policy")
	}
	protects := o.GetKey() == optionsv1.KeyRequirement_KEY_REQUIREMENT_REQUIRED || o.GetKey() == optionsv1.KeyRequirement_KEY_REQUIREMENT_OPTIONAL
	switch {
	case o.GetKey() == optionsv1.KeyRequirement_KEY_REQUIREMENT_UNSPECIFIED:
		return errors.New("the policy does not say whether a key is required")
	case protects && (md.IsStreamingClient() || md.IsStreamingServer()):
		return errors.New("a stream cannot be protected by a key")
	case protects && o.GetRecovery() == optionsv1.Recovery_RECOVERY_UNSPECIFIED:
		return errors.New("the policy does not say how a vanished attempt is finished")
	case o.GetInTransaction() && (!protects || o.GetRecovery() != optionsv1.Recovery_RECOVERY_RECOVERABLE):
		return errors.New("it is said to be in the transaction of its effect, and is not recoverable where its answer cannot be")
	case o.GetPermanent() && o.GetRetention() != nil:
		return errors.New("a permanent answer has no retention")
	case o.GetRetention() != nil && (o.GetRetention().AsDuration() < time.Minute || o.GetRetention().AsDuration() > Forever):
		return errors.New("the retention is less than a minute or more than 200 years")
	case o.GetWait().AsDuration() < 0 || o.GetWait().AsDuration() > 0 && o.GetInFlight() == optionsv1.InFlight_IN_FLIGHT_REJECT:
		return errors.New("the wait is negative, or set although nothing waits")
	}
	_, err := parseExclusions(md.Input(), o.GetFingerprintExclude())
	return err
}

// Check compares the contracts of a server with its store, to be called before it serves: with the store, and what
// (*grpc.Server).GetServiceInfo returns. It refuses what Lint refuses, a policy that demands more than the store gives,
// methods that are not in the contracts linked into the binary, and a RECOVERY_PROBE method that is not among probes, the
// Options.Probes of the server: its contract promises that somebody looks before it is executed again, and nobody would. gRPC's
// own services are left out.
func Check(store Store, services map[string]grpc.ServiceInfo, probes ...string) error {
	can := store.Capabilities()
	var errs []error
	for _, method := range probes {
		if md := descriptorOf(method); md == nil || !readPolicy(md).probe {
			errs = append(errs, fmt.Errorf("%s: it is said to look for the effect of an earlier attempt, and is not declared RECOVERY_PROBE", method))
		}
	}
	for service, info := range services {
		if strings.HasPrefix(service, "grpc.") {
			continue
		}
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			if err := check(can, descriptorOf(method), slices.Contains(probes, method)); err != nil {
				errs = append(errs, fmt.Errorf("%s.%s: %w", service, m.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Apart returns the methods of a server, sorted, that claim their keys in a commit of its own although their effect is one
// transaction in the service's database, because the store is not in that database.
func Apart(store Store, services map[string]grpc.ServiceInfo) []string {
	can := store.Capabilities()
	var out []string
	for service, info := range services {
		for _, m := range info.Methods {
			md := descriptorOf("/" + service + "/" + m.Name)
			if md == nil {
				continue
			}
			if t, ok := TermsOf(md); ok && t.InTransaction && t.With(can).Recovery == t.Recovery {
				out = append(out, service+"."+m.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}

func check(can Capabilities, md protoreflect.MethodDescriptor, looks bool) error {
	if md == nil {
		return errors.New("its contract is not known, so nobody can say what a key means")
	}
	if err := lint(md); err != nil {
		return err
	}
	p := readPolicy(md)
	switch {
	case p.protected && can.Durability < p.durability:
		return fmt.Errorf("the policy demands a %s store of keys, this one is %s", p.durability, can.Durability)
	case p.transactional && !p.anywhere && !can.Transactional:
		return errors.New("the policy demands a store of keys in the transaction of the effect")
	case p.probe && !looks:
		return errors.New("the policy says that its handler looks for the effect of an earlier attempt, and the server knows of none that does")
	}
	return nil
}
