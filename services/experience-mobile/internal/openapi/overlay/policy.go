package overlay

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// policy is what the contract says about the key of an operation, defaults filled in: words for enums, ISO 8601 for durations.
func policy(operation string) object {
	service := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Services().ByName("MobileService")
	m := service.Methods().ByName(protoreflect.Name(operation))
	if m == nil {
		return object{}
	}
	t, ok := idempotent.TermsOf(m)
	if !ok {
		return object{}
	}
	out := object{"key": t.Key, "recovery": t.Recovery}
	if t.InTransaction {
		out["inTransaction"] = true
	}
	if t.InFlight == "" {
		return out
	}
	out["inFlight"], out["keptOutcomes"] = t.InFlight, t.KeptOutcomes
	if t.Wait > 0 {
		out["wait"] = iso(t.Wait)
	}
	if t.Retention == idempotent.Forever {
		out["permanent"] = true
	} else {
		out["retention"] = iso(t.Retention)
	}
	if len(t.Ignored) > 0 {
		out["fingerprintExclude"] = t.Ignored
	}
	return out
}

// standing is what the contract says about the life of an operation.
type standing struct{ deprecated bool }

func policyOf(operation string) standing {
	service := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Services().ByName("MobileService")
	m := service.Methods().ByName(protoreflect.Name(operation))
	if m == nil {
		return standing{}
	}
	_, ok := proto.GetExtension(m.Options(), optionsv1.E_Deprecation).(*optionsv1.Deprecation)
	return standing{deprecated: ok && proto.HasExtension(m.Options(), optionsv1.E_Deprecation)}
}

// iso writes a duration as ISO 8601 does: whole days as days, anything else in seconds.
func iso(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("P%dD", d/day)
	}
	return fmt.Sprintf("PT%dS", d/time.Second)
}
