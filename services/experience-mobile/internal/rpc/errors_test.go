package rpc

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	in := func(state connectivity.State) *Server {
		return &Server{state: func() connectivity.State { return state }}
	}
	up := in(connectivity.Ready)
	for name, c := range map[string]struct {
		from   *fault.Error
		kind   fault.Kind
		reason string
	}{
		"a refusal of this service is our failure, not the client's":    {fault.New(fault.Forbidden, "", "no"), fault.Internal, reasonUpstreamRefused},
		"an identity that is not accepted below is our failure":         {fault.New(fault.Unauthenticated, "", "no"), fault.Internal, reasonUpstreamRefused},
		"a method that is missing below is our failure":                 {fault.New(fault.Unimplemented, "", "no"), fault.Internal, reasonUpstreamRefused},
		"a key that we derived and that is refused is our failure":      {fault.New(fault.Invalid, idempotent.ReasonKeyInvalid, "no"), fault.Internal, reasonUpstreamRefused},
		"a page token that is refused is the client's":                  {fault.New(fault.Invalid, fault.ReasonPageTokenInvalid, "no"), fault.Invalid, fault.ReasonPageTokenInvalid},
		"a defect below stays a defect":                                 {fault.New(fault.Internal, "X", "no"), fault.Internal, fault.ReasonInternal},
		"a conflict is told as it is":                                   {fault.New(fault.Conflict, fault.ReasonETagMismatch, "no"), fault.Conflict, fault.ReasonETagMismatch},
		"a reused key is told as it is, because the child key is as is": {fault.New(fault.Precondition, idempotent.ReasonKeyReused, "no"), fault.Precondition, idempotent.ReasonKeyReused},
		"an uncertain outcome stays uncertain":                          {fault.New(fault.Uncertain, "", "no"), fault.Uncertain, fault.ReasonOutcomeUncertain},
		"an answer that is late is a timeout":                           {fault.New(fault.Timeout, "", "no"), fault.Timeout, fault.ReasonTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := up.translate(c.from)
			require.Equal(t, c.kind, fault.KindOf(err))
			require.Equal(t, c.reason, fault.ReasonOf(err))
			if c.kind == fault.Internal {
				require.NotContains(t, fault.ToStatus(err).Message(), "no")
			}
		})
	}
	t.Run("a deadline that passed without a connection is an outage", func(t *testing.T) {
		t.Parallel()
		err := in(connectivity.TransientFailure).translate(fault.New(fault.Timeout, "", "no"))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
	t.Run("an outage keeps the wish to wait", func(t *testing.T) {
		t.Parallel()
		err := up.translate(fault.New(fault.Unavailable, "", "no").WithRetryAfter(3 * time.Second))
		require.Equal(t, 3*time.Second, fault.RetryAfter(err))
	})
	t.Run("an id that is refused is named as the client knows it", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"id", "customer.id"} {
			e, ok := fault.As(up.translate(fault.InvalidField(path, "", "too long")))
			require.True(t, ok)
			require.Equal(t, "customer_id", e.Fields[0].Path)
		}
	})
	t.Run("an error that nobody classified is internal", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, fault.Internal, fault.KindOf(up.translate(errors.New("x"))))
	})
}

func TestRequired(t *testing.T) {
	t.Parallel()
	named := &mobilev1.Customer{Name: "x"}
	mask := func(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }
	require.Empty(t, required(&mobilev1.CreateCustomerRequest{Customer: named}))
	require.Len(t, required(&mobilev1.CreateCustomerRequest{Customer: &mobilev1.Customer{Name: "\t "}}), 1)
	require.Empty(t, required(&mobilev1.UpdateCustomerRequest{Customer: &mobilev1.Customer{}, UpdateMask: mask("phone")}))
	require.Len(t, required(&mobilev1.UpdateCustomerRequest{Customer: &mobilev1.Customer{}, UpdateMask: mask("phone", "name")}), 1)
	require.Empty(t, required(&mobilev1.GetCustomerRequest{}))
}

func TestScopeOf(t *testing.T) {
	t.Parallel()
	methods := readMethods()
	require.Equal(t, method{scope: "customers.read"}, methods.of(prefix+"GetCustomer"))
	require.Equal(t, method{needsKey: true, scope: "customers.write"}, methods.of(prefix+"UpdateCustomer"))
	require.Equal(t, method{scope: "customers.write"}, methods.of(prefix+"ApplyMutations"), "it carries keys of its own")
	require.Equal(t, method{needsKey: true, scope: "customers.write"}, methods.of(prefix+"Unknown"), "a method that is not known needs the most")
}
