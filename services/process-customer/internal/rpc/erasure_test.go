package rpc

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/caller"
	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/telemetry"
	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/engine/enginetest"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/erase"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func erasing(w *enginetest.World, a *API) *erase.Desk {
	desk := erase.New(erase.Deps{
		Store: w.Store, Folder: w.Folder, Systems: w.Systems, Now: w.Clock.Now, Telemetry: telemetry.Discard(),
		Answers: func(context.Context, string) (int, error) { return 0, nil },
	})
	a.operations.d.Eraser = desk
	return desk
}

func TestEraseRecord(t *testing.T) {
	w, a, _ := setup(t)
	desk := erasing(w, a)
	id := create(t, a, "k1", &customerv1.Customer{Name: "Acme", TaxId: "DE100000001"}).GetCustomer().GetId()
	w.Settle()
	changes, err := a.screens.ListCustomerChanges(t.Context(), &customerv1.ListCustomerChangesRequest{})
	require.NoError(t, err)

	ada := caller.With(t.Context(), caller.Identity{Name: "ada"})
	resp, err := a.operations.EraseRecord(ada, &customerv1.EraseRecordRequest{Id: id, Reason: "a letter of May 3"})
	require.NoError(t, err)
	require.Len(t, resp.GetErasures(), 1)
	e := resp.GetErasures()[0]
	require.Equal(t, []string{"ERASING", "ada", id}, []string{e.GetState(), e.GetActor(), e.GetGoldenId()})
	require.Empty(t, e.GetReceipt())

	_, err = a.customers.GetCustomer(t.Context(), &customerv1.GetCustomerRequest{Id: id})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	since, err := a.screens.ListCustomerChanges(t.Context(), &customerv1.ListCustomerChangesRequest{Token: changes.GetNextToken()})
	require.NoError(t, err)
	require.Len(t, since.GetChanges(), 1, "a phone hears that the customer is gone")
	require.True(t, since.GetChanges()[0].GetDeleted())

	open, err := a.operations.ListErasures(t.Context(), &customerv1.ListErasuresRequest{OpenOnly: true})
	require.NoError(t, err)
	require.Len(t, open.GetErasures(), 1)
	for range 3 {
		_, err := desk.Round(t.Context())
		require.NoError(t, err)
		w.Clock.Advance(time.Minute)
	}
	got, err := a.operations.GetErasure(t.Context(), &customerv1.GetErasureRequest{Id: id})
	require.NoError(t, err)
	e = got.GetErasure()
	require.Equal(t, "DONE", e.GetState())
	require.True(t, ed25519.Verify(e.GetPublicKey(), []byte(e.GetReceipt()), e.GetSignature()))
	open, err = a.operations.ListErasures(t.Context(), &customerv1.ListErasuresRequest{OpenOnly: true})
	require.NoError(t, err)
	require.Empty(t, open.GetErasures())
	again, err := a.operations.EraseRecord(ada, &customerv1.EraseRecordRequest{Id: id, Reason: "once more"})
	require.NoError(t, err)
	require.Equal(t, e.GetId(), again.GetErasures()[0].GetId())

	_, err = a.operations.GetErasure(t.Context(), &customerv1.GetErasureRequest{Id: "e_none"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = a.operations.EraseRecord(ada, &customerv1.EraseRecordRequest{Id: "c_aaaaaaaaaaaaaaaaaaaaaaaaaa", Reason: "x"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = a.operations.EraseRecord(ada, &customerv1.EraseRecordRequest{Id: "nobody", Reason: "x"})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Empty(t, w.SF.Records(golden.Customer))
}
