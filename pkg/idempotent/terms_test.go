package idempotent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/selfsame-io/selfsame/pkg/idempotent"
)

func TestTermsOf(t *testing.T) {
	t.Parallel()
	require.NoError(t, registerContract())
	d, err := protoregistry.GlobalFiles.FindDescriptorByName("selfsame.idempotenttest.v1.TestService")
	require.NoError(t, err)
	methods := d.(protoreflect.ServiceDescriptor).Methods()
	const given = time.Duration(1 << 40) // by the test's contract
	waits := func(t idempotent.Terms) idempotent.Terms {
		t.InFlight, t.Wait = "wait", 2*time.Second
		return t
	}
	for name, want := range map[string]idempotent.Terms{
		"Recoverable": waits(idempotent.Terms{Key: "required", Recovery: "recoverable", KeptOutcomes: "final", Retention: given}),
		"Optional":    waits(idempotent.Terms{Key: "optional", Recovery: "recoverable", KeptOutcomes: "final", Retention: given}),
		"Transaction": waits(idempotent.Terms{Key: "required", Recovery: "transactional", KeptOutcomes: "final", Retention: given}),
		"Anywhere":    waits(idempotent.Terms{Key: "required", Recovery: "recoverable", InTransaction: true, KeptOutcomes: "final", Retention: given}),
		"Reject":      {Key: "required", Recovery: "recoverable", KeptOutcomes: "final", Retention: given, InFlight: "reject"},
		"Successes":   waits(idempotent.Terms{Key: "required", Recovery: "recoverable", KeptOutcomes: "success", Retention: given}),
		"Permanent":   waits(idempotent.Terms{Key: "required", Recovery: "recoverable", KeptOutcomes: "final", Retention: idempotent.Forever}),
		"Natural":     {Key: "natural", Recovery: "recoverable"},
		"None":        {Key: "none", Recovery: "unspecified"},
		"Rich": waits(idempotent.Terms{
			Key: "required", Recovery: "recoverable", KeptOutcomes: "final", Retention: given, Ignored: []string{"client_time", "inner.text", "note"},
		}),
	} {
		got, ok := idempotent.TermsOf(methods.ByName(protoreflect.Name(name)))
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
		require.Equal(t, want, got.With(idempotent.Capabilities{Durability: idempotent.Durable, Shared: true}), name)
		if want.InTransaction {
			want.Recovery = "transactional"
		}
		require.Equal(t, want, got.With(idempotent.Capabilities{Transactional: true}), name)
	}
	for _, name := range []string{"Read", "Undeclared"} {
		_, ok := idempotent.TermsOf(methods.ByName(protoreflect.Name(name)))
		require.False(t, ok, name)
	}
}
