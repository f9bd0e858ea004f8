package overlay

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
)

// defaultRetention is how long an answer is kept when the contract does not say: the default of package idempotent.
const defaultRetention = 7 * 24 * time.Hour

// policy is what the contract says about the key of an operation, every field that is set: words for enums, ISO 8601
// for durations.
func policy(operation string) object {
	out := object{"retention": iso(defaultRetention)}
	service := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Services().ByName("MobileService")
	m := service.Methods().ByName(protoreflect.Name(operation))
	if m == nil {
		return out
	}
	p, ok := proto.GetExtension(m.Options(), optionsv1.E_Idempotency).(*optionsv1.IdempotencyPolicy)
	if !ok {
		return out
	}
	p.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !f.IsList() && !f.IsMap() {
			out[f.JSONName()] = plain(f, v)
		}
		return true
	})
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

func plain(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch f.Kind() {
	case protoreflect.EnumKind:
		d := f.Enum()
		if e := d.Values().ByNumber(v.Enum()); e != nil {
			zero := strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
			return strings.ToLower(strings.TrimPrefix(string(e.Name()), zero))
		}
		return int32(v.Enum())
	case protoreflect.MessageKind:
		if d, ok := v.Message().Interface().(*durationpb.Duration); ok {
			return iso(d.AsDuration())
		}
	default:
	}
	return v.Interface()
}

// iso writes a duration as ISO 8601 does: whole days as days, anything else in seconds.
func iso(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("P%dD", d/day)
	}
	return fmt.Sprintf("PT%dS", d/time.Second)
}
