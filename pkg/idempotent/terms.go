package idempotent

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// Terms are what the contract of a method says about a key, for a server with the defaults of Options. Words are those of the
// contract in lower case, without the name of their type.
type Terms struct {
	// Key is "required", "optional", "natural" (a key is only passed on) or "none".
	Key string
	// Recovery is what becomes of an attempt that vanished, whatever the store of keys; see With.
	Recovery string
	// InTransaction tells that the whole effect is one transaction in the database of the service that has it.
	InTransaction bool
	// The rest is empty where no key is claimed.

	// Retention is how long the answer is replayed; Forever when it is permanent.
	Retention time.Duration
	// InFlight is "wait" or "reject", Wait how long, zero for not at all.
	InFlight string
	Wait     time.Duration
	// KeptOutcomes is "final" or "success".
	KeptOutcomes string
	// Ignored are the paths in the request that are not part of the fingerprint.
	Ignored []string
}

// TermsOf returns the terms of a method, and false for one that only reads or declares nothing.
func TermsOf(md protoreflect.MethodDescriptor) (Terms, bool) {
	read, o := declared(md)
	if read || o == nil {
		return Terms{}, false
	}
	t := Terms{Key: word(o.GetKey()), Recovery: word(o.GetRecovery()), InTransaction: o.GetInTransaction()}
	p := readPolicy(md)
	if !p.protected {
		return t, true
	}
	defaults := Options{}.withDefaults()
	t.Retention, t.InFlight, t.KeptOutcomes = defaults.Retention, word(optionsv1.InFlight_IN_FLIGHT_WAIT), word(optionsv1.KeptOutcomes_KEPT_OUTCOMES_FINAL)
	if p.retention > 0 {
		t.Retention = p.retention
	}
	if p.reject {
		t.InFlight = word(optionsv1.InFlight_IN_FLIGHT_REJECT)
	} else if t.Wait = defaults.Wait; p.wait > 0 {
		t.Wait = p.wait
	}
	if p.successOnly {
		t.KeptOutcomes = word(optionsv1.KeptOutcomes_KEPT_OUTCOMES_SUCCESS)
	}
	t.Ignored = append(slices.Clone(o.GetFingerprintExclude()), marked(md.Input(), "", nil)...)
	slices.Sort(t.Ignored)
	t.Ignored = slices.Compact(t.Ignored)
	return t, true
}

// With returns the terms that hold with a store: a method whose effect is one transaction is transactional where the store can
// keep its answer in that.
func (t Terms) With(can Capabilities) Terms {
	if t.InTransaction && can.Transactional {
		t.Recovery = word(optionsv1.Recovery_RECOVERY_TRANSACTIONAL)
	}
	return t
}

// word is the name of a value of an enum without that of the enum.
func word(v protoreflect.Enum) string {
	d := v.Descriptor()
	name := d.Values().ByNumber(v.Number())
	if name == nil {
		return ""
	}
	prefix := strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
	return strings.ToLower(strings.TrimPrefix(string(name.Name()), prefix))
}

// marked returns the paths of the fields below that say of themselves that they do not count. A type within itself is
// looked at once.
func marked(md protoreflect.MessageDescriptor, path string, above []protoreflect.FullName) []string {
	if md == nil || slices.Contains(above, md.FullName()) {
		return nil
	}
	above = append(slices.Clip(above), md.FullName())
	var out []string
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		here := path + string(fd.Name())
		switch {
		case ignored(fd):
			out = append(out, here)
		case fd.IsMap():
			out = append(out, marked(fd.MapValue().Message(), here+".", above)...)
		default:
			out = append(out, marked(fd.Message(), here+".", above)...)
		}
	}
	return out
}
