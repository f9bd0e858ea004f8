package source

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	salesforcev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/salesforce/v1"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

func TestSalesforceWaits(t *testing.T) {
	t.Parallel()
	srv, sys := newCRM(t)
	srv.result = func(*salesforcev1.AccountUpsert) *salesforcev1.WriteResult {
		return &salesforcev1.WriteResult{Outcome: salesforcev1.Outcome_OUTCOME_REFUSED, Error: &salesforcev1.RecordError{
			Reason: "API_BUDGET_EXHAUSTED", Retryable: true, Class: salesforcev1.ErrorClass_ERROR_CLASS_WAIT_FOR_QUOTA, RetryAfter: durationpb.New(time.Minute), ResumeTime: someTime(),
		}}
	}
	results, err := sys.Upsert(t.Context(), golden.Customer, []Write{{ExternalID: "x", Values: name("A")}})
	require.NoError(t, err)
	require.Equal(t, time.Minute, fault.RetryAfter(results[0].Err))
	fe, ok := fault.As(results[0].Err)
	require.True(t, ok)
	require.Equal(t, someTime().AsTime().Format(time.RFC3339), fe.Meta["resume_time"])
}

func TestSalesforceUnreadable(t *testing.T) {
	t.Parallel()
	srv, sys := newCRM(t)
	const hidden, gone = "001000000000008AAA", "001000000000009AAA"
	srv.unreadable = map[string]bool{hidden: true}
	for _, obj := range golden.Objects() {
		recs, missing, err := sys.Fetch(t.Context(), obj, []string{hidden, gone})
		require.NoError(t, err)
		require.Empty(t, recs)
		require.Equal(t, []string{gone}, missing, "nothing is said of what cannot be read")
	}
}
