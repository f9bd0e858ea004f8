package source

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// merging is a CRM in which every record but 001A and 003A, which we have changed last, is gone: 001B and 003B were merged into them.
type merging struct {
	salesforcev1.AccountServiceClient
	contacts
}

type contacts struct {
	salesforcev1.ContactServiceClient
}

func (merging) BatchGetAccounts(context.Context, *salesforcev1.BatchGetAccountsRequest, ...grpc.CallOption) (*salesforcev1.BatchGetAccountsResponse, error) {
	return &salesforcev1.BatchGetAccountsResponse{
		Accounts: []*salesforcev1.Account{{Id: "001A", OwnWrite: true}}, MissingIds: []string{"001B", "001C"}, MergedInto: map[string]string{"001B": "001A"},
	}, nil
}

func (contacts) BatchGetContacts(context.Context, *salesforcev1.BatchGetContactsRequest, ...grpc.CallOption) (*salesforcev1.BatchGetContactsResponse, error) {
	return &salesforcev1.BatchGetContactsResponse{
		Contacts: []*salesforcev1.Contact{{Id: "003A", OwnWrite: true}}, MissingIds: []string{"003B", "003C"}, MergedInto: map[string]string{"003B": "003A"},
	}, nil
}

func TestSalesforceMerged(t *testing.T) {
	t.Parallel()
	crm := merging{}
	sys := &Salesforce{name: "salesforce", accounts: crm, contacts: crm.contacts}
	for obj, prefix := range map[golden.Object]string{golden.Customer: "001", golden.Contact: "003"} {
		t.Run("a "+string(obj)+" that was merged away is a tombstone that names its successor, and one that was deleted is missing", func(t *testing.T) {
			t.Parallel()
			recs, missing, err := sys.Fetch(t.Context(), obj, []string{prefix + "A", prefix + "B", prefix + "C"})
			require.NoError(t, err)
			require.Equal(t, []string{prefix + "C"}, missing)
			require.Len(t, recs, 2)
			require.Equal(t, prefix+"A", recs[0].Ref.RecordID)
			require.False(t, recs[0].Deleted)
			require.True(t, recs[0].OwnWrite, "it says that we have changed it last")
			gone := recs[1]
			require.Equal(t, golden.Ref{System: "salesforce", Object: obj, RecordID: prefix + "B"}, gone.Ref)
			require.True(t, gone.Deleted)
			require.Equal(t, prefix+"A", gone.MergedInto)
			require.Zero(t, gone.Version, "no version is told, and none is made up")
			require.False(t, gone.EventTime.IsZero())
		})
	}
}
